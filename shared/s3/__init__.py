"""The object store: its client, its clock, signed requests, listings."""

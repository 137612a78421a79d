"""Content credentials by C2PA: who made a result of what, signed."""

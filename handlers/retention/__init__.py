"""Retention: what may be forgotten, by rules of the operator's, and what never is."""

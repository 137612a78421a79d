"""Figures of the handlers: `python -m handlers bench handlers|recorder|backlog`, each beside a plain reference."""

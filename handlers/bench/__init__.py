"""Figures of the handlers: `python -m handlers bench handlers|recorder|backlog|api`,
each beside a plain reference.
"""

"""Figures of the audit log for people: in the terminal, as CSV, and as a page with
charts.
"""

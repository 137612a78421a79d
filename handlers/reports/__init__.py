"""For people: figures of the audit log in the terminal, as CSV and as a page with charts;
reports about a photo or a batch, as PDF.
"""

"""Whole albums and archives on their way into the bucket: sources, what they say of
themselves, and the journal of what was sent.
"""

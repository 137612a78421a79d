"""A photo's way through the worker: inbox, begin, prepare, restore, store result, and
how each photo ends.
"""

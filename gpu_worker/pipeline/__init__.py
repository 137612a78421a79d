"""A photo's way through the worker: inbox, prepare, (restore), finish, and how each
ends.
"""

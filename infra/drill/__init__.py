"""The drill: a stack is lost and comes back from nothing but the backup, on ports and in
folders of its own, while the real one runs on.
"""

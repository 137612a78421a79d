"""The embedded stack: the real servers from their wheels, and Darkroom's own processes,
supervised.
"""

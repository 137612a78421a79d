"""`darkroom demo`: the main job, start to end, on a stack of its own, checked as a
stranger would check it.
"""

"""How many workers are needed: a discrete-event simulation of the queue, the workers and
the rule that scales them, beforehand and without any of them.
"""

"""A door for clients of ComfyUI: its addresses and shapes, on Darkroom's own queue.

A *prompt*, ComfyUI's word for a graph that is to run, becomes a task for each of its
outputs. What is kept of prompts lies in the bucket for results, under the pseudonym of
whoever sent them.
"""

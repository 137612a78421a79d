"""Damage of a photo's surface: where it is (`detection`), and what was under it
(`inpainting`). No network and no weights: NumPy's arithmetic alone.
"""

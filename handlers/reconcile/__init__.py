"""The parts of the sweep; `handlers.on_sweep` puts them together and explains the
rules.
"""

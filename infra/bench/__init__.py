"""Benchmarks of a running stack: figures with their spread, for people (table) and
machines (`--json`).
"""

"""Benches of the whole and of each wing: figures with their spread, each beside a plain
reference, for people (table) and machines (`--json`).

A bench of a wing imports that wing, and so runs in a process of its own: `python -m
infra.bench NAME OPTIONS`. Nothing else of Darkroom imports these modules, but for
`infra.commands.bench`, where every option is declared.
"""

"""`darkroom migrate`, `bootstrap`: prepare a database and an object store that somebody else runs."""

from __future__ import annotations

import typer

from infra import bootstrap as buckets
from infra import migrate as migrations
from infra.commands.no_stack import need_servers
from shared.settings import Settings

app = typer.Typer(add_completion=False)


@app.command()
def migrate() -> None:
    """Apply the migrations of the log database that are missing."""
    applied = migrations.migrate(Settings.load())
    print("\n".join(applied) if applied else "nothing to apply")


@app.command()
def bootstrap() -> None:
    """Create the buckets that are missing."""
    settings = need_servers()
    created = buckets.bootstrap(settings)
    print("\n".join(created) if created else "nothing to create")

"""`darkroom migrate`, `bootstrap`: prepare a database and an object store that are not
the embedded ones.
"""

from __future__ import annotations

import sys

import typer

from infra import bootstrap as buckets
from infra import cors, workflow_files
from infra import migrate as migrations
from infra.commands.require_stack import need_servers
from shared import upload_forms
from shared.runtime.settings import Settings
from shared.s3.store import S3Store

app = typer.Typer(add_completion=False)


@app.command()
def migrate() -> None:
    """Apply the migrations of the log database that are missing."""
    applied = migrations.migrate(Settings.load())
    print("\n".join(applied) if applied else "nothing to apply")


@app.command()
def bootstrap() -> None:
    """Create the buckets that are missing, let the web pages of DARKROOM_CORS_ORIGINS
    reach them, see which uploads by ticket are safe on this store, and add the
    workflow files of DARKROOM_WORKFLOWS_DIR.
    """
    settings = need_servers()
    created = buckets.bootstrap(settings)
    cors.allow_pages(S3Store(settings), settings)
    print("\n".join(created) if created else "nothing to create")
    print(
        f"uploads by ticket, safe on this store: {', '.join(upload_forms.read(S3Store(settings), settings).safe)}"
    )
    for result in workflow_files.add_folder(settings):
        print(result)
    if not settings.s3_ticket_access_key.get_secret_value():
        print(f"darkroom: {upload_forms.OWN_KEY}", file=sys.stderr)

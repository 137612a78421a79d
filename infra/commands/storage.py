"""`darkroom storage …`: what is set at the object store itself."""

from __future__ import annotations

import json
from typing import Annotated, Any

import httpx
import typer

from infra.notifications import BucketNotifications
from shared.runtime.settings import Settings

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="What is set at the object store itself.",
)
notifications = typer.Typer(
    no_args_is_help=True, help="Notifications of MinIO, RustFS and Ceph."
)
app.add_typer(notifications, name="notifications")


@notifications.command()
def enable(
    arn: Annotated[
        str,
        typer.Argument(
            help="The server's own name of the target, such as arn:minio:sqs::DARKROOM:webhook"
        ),
    ],
) -> None:
    """Notify the target of every new upload. Other rules stay; doing it twice changes
    nothing.
    """
    changed = BucketNotifications(Settings.load()).enable(arn)
    since = "is now" if changed else "was already"
    typer.echo(f"{arn} {since} notified of every new upload")


@notifications.command()
def show() -> None:
    """The uploads bucket's rules, as JSON."""
    typer.echo(json.dumps(BucketNotifications(Settings.load()).show(), indent=2))


@notifications.command()
def listen(
    forward: Annotated[
        str,
        typer.Option(help="Also POST each event here: the handlers' /events/storage."),
    ] = "",
) -> None:
    """Print new uploads as JSON lines until stopped, for a server that cannot reach the
    handlers by itself.
    """
    settings = Settings.load()
    headers = {"Authorization": f"Bearer {settings.webhook_token.get_secret_value()}"}
    with httpx.Client(headers=headers, timeout=10) as client:
        for event in BucketNotifications(settings).listen():
            typer.echo(json.dumps(event))
            if forward and not _delivered(client, forward, event):
                typer.echo("not delivered; the sweep will find this upload", err=True)


def _delivered(client: httpx.Client, url: str, event: dict[str, Any]) -> bool:
    try:
        return client.post(url, json=event).is_success
    except httpx.HTTPError:
        return False

"""`darkroom webhooks test|secret`."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.commands.become import become
from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Send a signed sample to a webhook's URL; show a user's secret.",
)


@app.command("test")
def send_sample(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the sample goes.")],
    as_json: JsonOption = False,
) -> None:
    """Send a signed sample. A URL that a 410 had disabled is enabled again if it
    answers with 2xx.
    """
    need_servers()
    become("handlers", "callbacks", "test", url, as_json=as_json)


@app.command()
def secret(
    user: Annotated[
        str, typer.Option(help="The name that `darkroom keys create --user` was given.")
    ],
    as_json: JsonOption = False,
) -> None:
    """The secret by which a user's own servers verify webhooks."""
    need_servers()
    become("handlers", "callbacks", "secret", "--user", user, as_json=as_json)

"""`darkroom console`: a one-time link to the page on which people restore photos."""

from __future__ import annotations

import sys
from typing import Annotated

import segno
import typer

from infra.commands.require_stack import need_servers
from infra.sign_in import lan_url, new_link
from shared.errors import SettingsError

app = typer.Typer(add_completion=False)


@app.command()
def console(
    user: Annotated[
        str,
        typer.Option(
            help="Who signs in, and sees their own photos; without it the operator, who sees everybody's."
        ),
    ] = "",
    lan: Annotated[
        bool,
        typer.Option(
            "--lan", help="For a phone in this network: needs `darkroom up --lan`."
        ),
    ] = False,
) -> None:
    """A link that signs in to the console, good once and for ten minutes, and the same
    as a QR code.
    """
    settings = need_servers()
    base_url = lan_url(settings) if lan else settings.api_url
    if not base_url:
        raise SettingsError(
            "DARKROOM_API_URL is empty: a link needs the address of the HTTP server"
        )
    link = new_link(settings, user.strip(), base_url)
    print(link)
    # On stderr, so that a script gets the link alone.
    segno.make(link, micro=False).terminal(sys.stderr, compact=True)
    print("Good once, for ten minutes.", file=sys.stderr)

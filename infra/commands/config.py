"""`darkroom config`, `env`, `workflows`: what is set, where the stack is, what can be
asked for.
"""

from __future__ import annotations

import json
import shlex
import sys

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.commands.no_stack import no_stack
from infra.commands.options import JsonOption
from shared import workflows as presets
from shared.offers import Lack, Offers
from shared.runtime.settings import PREFIX, Settings, unknown_variables
from shared.s3.store import S3Store

app = typer.Typer(add_completion=False)


@app.command()
def config(as_json: JsonOption = False) -> None:
    """Every setting: its value (secrets masked), default, unit and meaning."""
    settings = Settings.load()
    tell_unknown()
    masked = settings.masked()
    rows = [
        {
            "name": f"{PREFIX}{name.upper()}",
            "value": masked[name],
            "default": str(field.get_default()),
            "unit": unit(name),
            "description": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        given = (
            ""
            if row["value"] == row["default"]
            else f" [default: {row['default'] or 'nothing'}]"
        )
        print(
            f"{row['name']}={row['value']} {row['unit']}".rstrip()
            + f"{given}\n    {row['description']}"
        )


def tell_unknown() -> None:
    """A line on stderr for each variable that is no setting, which may be a slip."""
    for variable, nearest in unknown_variables().items():
        meant = f"; do you mean {nearest}?" if nearest else ""
        print(
            f"darkroom: {variable} is no setting, so it changes nothing{meant}",
            file=sys.stderr,
        )


def unit(name: str) -> str:
    """Unit of a setting, from its name: `_s` seconds, `_bytes`, `_px`, `_pixels`."""
    for suffix, text in {
        "_s": "s",
        "_bytes": "bytes",
        "_px": "px",
        "_pixels": "px",
    }.items():
        if name.endswith(suffix):
            return text
    return ""


@app.command()
def env() -> None:
    """KEY=value lines for a client of the running stack: `set -a; eval "$(darkroom
    env)"; set +a` exports them.
    """
    settings = Settings.load()
    if not settings.api_url:
        raise no_stack(settings.state_dir)
    access_key, secret_key = settings.s3_access_key, settings.s3_secret_key
    if settings.s3_client_access_key.get_secret_value():
        access_key, secret_key = (
            settings.s3_client_access_key,
            settings.s3_client_secret_key,
        )
    values = {
        "AWS_ENDPOINT_URL": settings.s3_endpoint_url,
        "AWS_ACCESS_KEY_ID": access_key.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": secret_key.get_secret_value(),
        "AWS_REGION": settings.s3_region,
        "DARKROOM_BROKER_URL": settings.broker_url.get_secret_value(),
        "DARKROOM_DATABASE_URL": settings.database_url.get_secret_value(),
        "DARKROOM_API_URL": settings.api_url,
        "DARKROOM_API_KEY": settings.api_key.get_secret_value(),
    }
    for name, value in values.items():
        print(f"{name}={shlex.quote(value)}")


@app.command()
def workflows(as_json: JsonOption = False) -> None:
    """The workflows, their parameters, and whether a worker of the running stack can
    run them.
    """
    known, settings = presets.presets().values(), Settings.load()
    lacks = _lacks(settings)
    if as_json:
        told = [
            w.model_dump()
            | {"params_schema": w.params_schema(), "available": not lacks.get(w.name)}
            | {
                "unavailable": lack.model_dump()
                if (lack := lacks.get(w.name))
                else None
            }
            for w in known
        ]
        print(json.dumps(told, indent=2))
        return
    table = Table("workflow", "version", "what it does", "parameters", "available")
    for workflow in known:
        parameters = "\n".join(
            f"{name}: {spec.rule()}" for name, spec in workflow.parameters().items()
        )
        lack = lacks.get(workflow.name)
        available = (
            f"no: {lack.because}; {lack.command}"
            if lack
            else "yes"
            if workflow.name in lacks
            else "not known"
        )
        table.add_row(
            workflow.name,
            str(workflow.version),
            workflow.description,
            parameters,
            escape(available),
        )
    Console().print(table)


def _lacks(settings: Settings) -> dict[str, Lack | None]:
    """By workflow, what the workers lack for it. Nothing where there is no stack, or no
    worker has said anything.
    """
    if not settings.s3_endpoint_url and not settings.api_url:
        return {}
    offers = Offers(S3Store(settings), settings)
    offers.refresh()
    return (
        {name: offers.lack(presets.resolve(name)) for name in presets.presets()}
        if offers.known
        else {}
    )

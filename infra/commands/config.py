"""`darkroom config` and `env`: the settings, and where the stack is."""

from __future__ import annotations

import json
import shlex
import sys

import typer

from infra.commands.no_stack import no_stack
from infra.commands.options import JsonOption
from shared.runtime.settings import Settings, unknown_variables, variable

app = typer.Typer(add_completion=False)


@app.command()
def config(as_json: JsonOption = False) -> None:
    """Every setting: its value (secrets masked), default, unit and meaning."""
    settings = Settings.load()
    warn_of_unknown()
    masked = settings.masked()
    rows = [
        {
            "name": variable(name),
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
        line = f"{row['name']}={row['value']} {row['unit']}".rstrip()
        if row["value"] != row["default"]:
            line += f" [default: {row['default'] or 'nothing'}]"
        print(line)
        print(f"    {row['description']}")


def warn_of_unknown() -> None:
    """Print a line on stderr for each variable that is no setting, which may be a typo."""
    for name, nearest in unknown_variables().items():
        meant = f"; do you mean {nearest}?" if nearest else ""
        print(
            f"darkroom: {name} is no setting, so it changes nothing{meant}",
            file=sys.stderr,
        )


UNITS = {"_s": "s", "_bytes": "bytes", "_px": "px", "_pixels": "px"}


def unit(name: str) -> str:
    """The unit of a setting, which its name ends in."""
    for suffix, text in UNITS.items():
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
    if settings.comfyui != "off":
        values["DARKROOM_COMFYUI_URL"] = f"{settings.api_url.rstrip('/')}/comfyui"
    for name, value in values.items():
        print(f"{name}={shlex.quote(value)}")

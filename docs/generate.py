"""`python docs/generate.py`: writes the generated parts of the documentation anew.

A page has its generated parts between `<!-- generated: NAME -->` and `<!-- /generated -->`.
Each comes from the code itself, so that it cannot say anything else. `--check` changes
nothing, prints the pages that are out of date, and then ends with exit status 1.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- /generated -->)",
    re.DOTALL,
)
METHODS = ("get", "put", "post", "delete")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A Markdown table, with the characters escaped that would break a cell."""
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(_cell(text) for text in row)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """`text` as code; nothing stays nothing."""
    return f"`{text}`" if text else ""


# Settings, metrics, log events, error codes


def settings() -> Iterator[str]:
    """Every setting in its group, as `darkroom config` prints it where nothing is set."""
    from shared.runtime.settings import variable

    rows = {row["name"]: row for row in _printed_settings()}
    rows["DARKROOM_STATE_DIR"]["value"] = ".darkroom"
    for group in _groups():
        words = re.findall("[A-Z][a-z]+", group.__name__.removesuffix("Settings"))
        title = " ".join(words).capitalize().replace("Http", "HTTP")
        yield from ("", f"## {title}", "", group.__doc__ or "", "")
        names = [variable(name) for name in group.model_fields]
        yield from table(
            ("setting", "default", "unit", "meaning"),
            [_setting(rows.pop(name)) for name in names if name in rows],
        )


def _groups() -> list[Any]:
    from shared.runtime.settings import Settings

    return list(reversed(Settings.__bases__))


def _printed_settings() -> list[dict[str, str]]:
    command = [sys.executable, "-m", "infra.cli", "config", "--json"]
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DARKROOM_")
    }
    clean |= {"DARKROOM_STATE_DIR": str(DOCS), "TMPDIR": "/tmp"}  # noqa: S108 - the usual default
    done = subprocess.run(
        command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    )
    printed: list[dict[str, str]] = json.loads(done.stdout)
    return printed


def _setting(row: dict[str, str]) -> tuple[str, str, str, str]:
    return code(row["name"]), code(row["value"]), row["unit"], row["description"]


def metrics() -> Iterator[str]:
    """Every metric of Darkroom's own."""
    from shared.runtime.metrics import METRICS

    ending = re.compile(r" \((counter|gauge|histogram)[^)]*\)\.?$")
    rows = []
    for name, text in METRICS.items():
        kind = ending.search(text)
        meaning = ending.sub("", text)
        rows.append((code(name), kind[1] if kind else "", meaning))
    yield from table(("metric", "kind", "meaning"), rows)


def events() -> Iterator[str]:
    """Every event that a process logs."""
    from shared.runtime.telemetry import EVENTS

    yield from table(
        ("event", "meaning"),
        ((code(name), meaning) for name, meaning in EVENTS.items()),
    )


def error_codes() -> Iterator[str]:
    """Every code, in the groups in which the code has them."""
    from shared.errors import Code

    titles = {
        Code.EMPTY_FILE: "Decided by the handler, from the event, the header and the metadata",
        Code.DECODE_ERROR: "Decided by the worker, from the pixels",
        Code.CANCELLED: "Decided by the user",
        Code.CHECKSUM_MISMATCH: "About one file of an album or archive; nothing of it was sent",
        Code.BAD_MESSAGE: "About a message or a document, not a photo",
        Code.STORAGE_UNAVAILABLE: "About the surroundings",
    }
    texts = tomllib.loads((DOCS / "error-codes.toml").read_text())
    group: list[tuple[str, str, str]] = []
    for found in Code:
        if found in titles:
            yield from _error_group(group)
            yield from ("", f"## {titles[found]}", "")
            group = []
        text = texts[found]
        group.append((code(found), text.get("ends", ""), text["way_out"]))
    yield from _error_group(group)


def _error_group(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    if rows:
        yield from table(("`error_code`", "ends an upload as", "the way out"), rows)


# Workflows


def workflows() -> Iterator[str]:
    """Every workflow with its steps, and under it its parameters."""
    from shared.workflows import presets

    rows = []
    for name, workflow in presets().items():
        steps = (
            f"{step.step} ({step.model})" if step.model else step.step
            for step in workflow.steps
        )
        rows.append((code(name), workflow.description, ", ".join(steps)))
    yield from table(("workflow", "what it does", "steps"), rows)
    for name, workflow in presets().items():
        yield from (
            "",
            f"## `{name}`",
            "",
            f"Version {workflow.version}. {workflow.description}",
            "",
        )
        yield from table(
            ("parameter", "rule", "meaning"),
            (
                (code(parameter), spec.rule(), spec.description)
                for parameter, spec in workflow.parameters().items()
            ),
        )


def gates() -> Iterator[str]:
    """The thresholds of the gates."""
    from shared.workflows import Gates
    from shared.workflows import gates as thresholds

    values = thresholds().model_dump()
    yield from table(
        ("threshold", "value", "meaning"),
        (
            (code(name), f"{values[name]:g}", field.description or "")
            for name, field in Gates.model_fields.items()
        ),
    )


# Commands


def commands() -> Iterator[str]:
    """Every command with its arguments and options, as its `--help` has them."""
    from typer.main import get_command

    from infra.cli import app

    root: Any = get_command(app)
    context = root.context_class(root, info_name="darkroom")
    for name in root.list_commands(context):
        _, command, _ = root.resolve_command(context, [name])
        yield from _command(command, name, context, level=2)


def _command(command: Any, name: str, parent: Any, level: int) -> Iterator[str]:
    context = command.context_class(command, info_name=name, parent=parent)
    yield from (
        f"{'#' * level} `{context.command_path}`",
        "",
        (command.help or "").strip(),
        "",
    )
    children = getattr(command, "commands", None)
    if children:
        for child in children:
            yield from _command(children[child], child, context, level + 1)
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield from ("```text", f"{context.command_path} {usage}".strip(), "```", "")
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    rows = [_parameter(parameter, context) for parameter in shown]
    if rows:
        yield from table(("argument or option", "meaning"), rows)
        yield ""


def _parameter(parameter: Any, context: Any) -> tuple[str, str]:
    record = parameter.get_help_record(context)
    if record is None:
        return code(parameter.make_metavar(context)), ""
    return code(" ".join(record[0].split())), record[1]


# HTTP API


def routes() -> Iterator[str]:
    """Every route under `/v1`, as `/openapi.json` has it."""
    from handlers.context import Context
    from handlers.http.app import build
    from shared.runtime.settings import Settings

    settings = Settings.given(
        pepper="documentation", s3_endpoint_url="http://127.0.0.1:1", state_dir=DOCS
    )
    document = build(Context.of(settings)).openapi()
    found = {
        f"{method.upper()} {path}": operations[method]
        for path, operations in document["paths"].items()
        for method in METHODS
        if method in operations
    }
    usual = set.intersection(
        *(set(operation["responses"]) for operation in found.values())
    )
    refusals = next(iter(found.values()))["responses"]
    yield from ("Every route may answer:", "")
    yield from table(
        ("status", "meaning"),
        ((status, _answer(refusals[status])) for status in sorted(usual)),
    )
    yield ""
    for title, operation in found.items():
        yield from _route(document, title, operation, usual)


def _route(
    document: dict[str, Any], title: str, operation: dict[str, Any], usual: set[str]
) -> Iterator[str]:
    about = " ".join(operation.get("description", operation["summary"]).split())
    yield from (f"## `{title}`", "", about, "")
    parameters = [
        (code(one["name"]), one["in"], _kind(one["schema"]), _about(one))
        for one in operation.get("parameters", [])
        if one["name"].lower() != "authorization"
    ]
    body = (
        operation.get("requestBody", {})
        .get("content", {})
        .get("application/json", {})
        .get("schema")
    )
    if body:
        model = _resolved(document, body)
        parameters += [
            (code(name), "body", _kind(spec), _about(spec))
            for name, spec in model.get("properties", {}).items()
        ]
    if parameters:
        yield from table(("parameter", "in", "type", "meaning"), parameters)
        yield ""
    yield from table(
        ("status", "answer"),
        (
            (status, _answer(answer))
            for status, answer in operation["responses"].items()
            if status not in usual
        ),
    )
    yield ""


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _about(spec: dict[str, Any]) -> str:
    return str(
        spec.get("description") or spec.get("schema", {}).get("description") or ""
    )


def _answer(answer: dict[str, Any]) -> str:
    content = answer.get("content", {}).get("application/json", {})
    kind = code(_kind(content["schema"])) if "schema" in content else ""
    meaning = str(answer.get("description", ""))
    if meaning == "Successful Response":
        return kind or "done"
    return f"{meaning} {kind}".strip()


def _kind(schema: dict[str, Any]) -> str:
    """The type of a JSON schema, in a word or two."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(
            dict.fromkeys(
                _kind(option) for option in options if option.get("type") != "null"
            )
        )
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


# Documents and the audit log


def fields_of(model: Any) -> Iterator[str]:
    """The fields of a pydantic model, with their types and what it says of them."""
    schema = model.model_json_schema(mode="serialization")
    yield from table(
        ("field", "type", "meaning"),
        (
            (code(name), _kind(spec), _about(spec))
            for name, spec in schema["properties"].items()
        ),
    )


def record() -> Iterator[str]:
    """Fields of a record."""
    from shared.uploads.documents import Record

    return fields_of(Record)


def receipt() -> Iterator[str]:
    """Fields of a receipt."""
    from shared.uploads.documents import Receipt

    return fields_of(Receipt)


def reason() -> Iterator[str]:
    """Fields of a reason."""
    from shared.uploads.documents import Reason

    return fields_of(Reason)


def columns() -> Iterator[str]:
    """Columns of the audit log."""
    from handlers.audit_log.columns import Row

    return fields_of(Row)


# The rooms


def rooms() -> Iterator[str]:
    """Each package of a wing and of the ground, with the first sentence that it says
    of itself.
    """
    for wing in ("handlers", "gpu_worker", "shared", "infra"):
        rows = []
        for file in sorted((ROOT / wing).glob("*/__init__.py")):
            module = ast.parse(file.read_text())
            sentence = _first_sentence(ast.get_docstring(module) or "")
            rows.append((code(f"{wing}/{file.parent.name}/"), sentence))
        yield from ("", f"### `{wing}`", "")
        yield from table(("room", "what it holds"), rows)
    yield ""


def _first_sentence(text: str) -> str:
    first = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.!])\s", first)[0]


PARTS: dict[str, Callable[[], Iterable[str]]] = {
    "settings": settings,
    "metrics": metrics,
    "events": events,
    "error-codes": error_codes,
    "workflows": workflows,
    "gates": gates,
    "commands": commands,
    "routes": routes,
    "record": record,
    "receipt": receipt,
    "reason": reason,
    "columns": columns,
    "rooms": rooms,
}


def page(text: str) -> str:
    """`text` with each of its generated parts made anew."""
    return BLOCK.sub(
        lambda found: f"{found['begin']}{_part(found['name'])}{found['end']}", text
    )


def _part(name: str) -> str:
    text = "\n".join(PARTS[name]()).strip()
    text = re.sub(r"\n{3,}", "\n\n", text)
    return f"\n{text}\n\n"


def main(*options: str) -> int:
    """Write the pages, or with `--check` name those that are out of date."""
    stale = []
    for file in sorted(DOCS.rglob("*.md")):
        text = file.read_text()
        if (made := page(text)) != text:
            stale.append(str(file.relative_to(ROOT)))
            if "--check" not in options:
                file.write_text(made)
    for name in stale:
        print(name)
    return int("--check" in options and bool(stale))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(*sys.argv[1:]))

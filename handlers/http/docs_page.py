"""`/docs`: the API's description as one page for people, without a script and without a
request to anybody else.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; text-transform: capitalize; }
details { border: 1px solid #8886; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid #8884; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; }
.id { opacity: .7; margin-left: .8rem; }
"""
_DIGEST = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; frame-ancestors 'none'"

Document = dict[str, Any]


@router.get("/docs")
def show_docs(request: Request) -> HTMLResponse:
    """The page; it needs no key, like the description that it shows."""
    page = _page(json.dumps(request.app.openapi()))
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


@cache
def _page(description: str) -> str:
    return "\n".join(_lines(json.loads(description)))


def _lines(description: Document) -> Iterator[str]:
    info = description["info"]
    title = escape(f"{info['title']} {info['version']}: the HTTP API")
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title><style>{STYLE}</style></head><body><main>"
    yield f"<h1>{title}</h1>"
    yield "<p>Every request under <code>/v1</code> needs <code>Authorization: Bearer …</code>. "
    yield "Refusals are problem documents (RFC 9457) with a <code>code</code>. "
    yield 'The whole description for programs: <a href="openapi.json">openapi.json</a>.</p>'
    for tag, operations in _by_tag(description).items():
        yield f"<h2>{escape(tag)}</h2>"
        for method, path, operation in operations:
            yield from _operation(description, method, path, operation)
    yield "</main></body></html>"


def _by_tag(description: Document) -> dict[str, list[tuple[str, str, Document]]]:
    found: dict[str, list[tuple[str, str, Document]]] = {}
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["other"])[0]
            found.setdefault(tag, []).append((method.upper(), path, operation))
    return found


def _operation(
    description: Document,
    method: str,
    path: str,
    operation: Document,
) -> Iterator[str]:
    ident = escape(operation["operationId"])
    yield f'<details id="{ident}"><summary><span class="method">{method}</span>'
    yield f'<code>{escape(path)}</code><span class="id">{ident}</span></summary>'
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    parameters = operation.get("parameters", [])
    if parameters:
        yield "<table>"
        yield from map(_parameter, parameters)
        yield "</table>"
    body = operation.get("requestBody")
    if body:
        yield from _body(description, body["content"]["application/json"]["schema"])
    yield "<table>"
    for status, response in operation["responses"].items():
        said = escape(response["description"])
        yield f"<tr><td><code>{escape(status)}</code></td><td>{said}</td></tr>"
    yield "</table></details>"


def _parameter(parameter: Document) -> str:
    name = escape(parameter["name"])
    place = escape(parameter["in"])
    said = escape(parameter.get("description", ""))
    return f"<tr><td><code>{name}</code></td><td>{place}</td><td>{said}</td></tr>"


def _body(description: Document, schema: Document) -> Iterator[str]:
    schema = _resolved(description, schema)
    yield f"<p>Body: {escape(schema.get('description', ''))}</p><table>"
    for name, field in schema.get("properties", {}).items():
        said = escape(field.get("description", ""))
        yield f"<tr><td><code>{escape(name)}</code></td><td>{said}</td></tr>"
    yield "</table>"
    for example in schema.get("examples", []):
        text = json.dumps(example, indent=2, ensure_ascii=False)
        yield f"<pre>{escape(text)}</pre>"


def _resolved(description: Document, schema: Document) -> Document:
    """The schema that a reference names."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    name = reference.rpartition("/")[2]
    found: Document = description["components"]["schemas"][name]
    return found

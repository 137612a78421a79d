"""The world outside, as one small server: a mirror of models, and somebody's receiver
of callbacks.

Runs in a container of its own, with the standard library alone. `python outside.py PORT
MIRROR CALLS` writes each call into a file of folder CALLS.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Outside(SimpleHTTPRequestHandler):
    """Files of the mirror by GET; what is posted is kept."""

    calls: Path

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        part = self.calls / f".{headers['webhook-id']}"
        part.write_text(json.dumps({"headers": headers, "body": body}))
        part.rename(self.calls / f"{headers['webhook-id']}.json")
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    port, mirror, calls = sys.argv[1:]
    Outside.calls = Path(calls)
    ThreadingHTTPServer(
        ("", int(port)), partial(Outside, directory=mirror)
    ).serve_forever()

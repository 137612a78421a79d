"""A store that checks nothing: whatever comes is sent on to a real one, signed anew in
its administrator's name.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote

import httpx
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shared.runtime.settings import Settings

SIGNATURE = ("x-amz-date", "x-amz-content-sha256", "authorization")
OF_SIGNATURE = tuple(
    f"x-amz-{name}"
    for name in (
        "algorithm",
        "credential",
        "date",
        "expires",
        "signedheaders",
        "signature",
    )
)
KEPT = ("content-type", "if-match", "if-none-match", "range")


@contextmanager
def lax_store(admin: Settings) -> Iterator[str]:
    """Its URL, before the store of an administrator's settings."""
    credentials = Credentials(
        admin.s3_access_key.get_secret_value(), admin.s3_secret_key.get_secret_value()
    )

    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            path, _, query = self.path.partition("?")
            asked = [
                (n, v)
                for n, v in parse_qsl(query, keep_blank_values=True)
                if n.lower() not in OF_SIGNATURE
            ]
            line = "&".join(
                f"{quote(name, safe='')}={quote(value, safe='')}"
                for name, value in asked
            )
            url = f"{admin.s3_endpoint_url}{path}" + (f"?{line}" if line else "")
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() in KEPT
                or (name.lower().startswith("x-amz-") and name.lower() not in SIGNATURE)
            }
            request = AWSRequest(self.command, url, headers, body)
            S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
            answer = httpx.request(
                self.command,
                url,
                headers=dict(request.headers.items()),
                content=body,
                timeout=60,
            )
            self.send_response_only(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in (
                    "connection",
                    "transfer-encoding",
                    "content-length",
                ):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()

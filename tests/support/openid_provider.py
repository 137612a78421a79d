"""A stand-in for an OpenID provider, on a port of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt

from tests.support.issuer import NOW_S, RSA_KEY, public


class Provider:
    """What is true of it can be changed: `document` of its discovery, `claims` and `key`
    of its ID tokens, `answer` of its token endpoint. `asked`: the forms that came there.
    """

    def __init__(self) -> None:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys = {"keys": [public(RSA_KEY, "r1")]}
                is_keys = self.path == "/keys"
                self._send(200, keys if is_keys else provider.document)

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                form = parse_qs(self.rfile.read(length).decode())
                provider.asked.append({name: one for name, (one,) in form.items()})
                provider.basic = self.headers.get("Authorization", "")
                self._send(*provider.answer())

            def _send(self, status: int, body: Any) -> None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.reset()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def reset(self) -> None:
        self.document: Any = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "authorization_response_iss_parameter_supported": True,
        }
        self.claims: dict[str, Any] = {}
        self.key: Any = RSA_KEY
        self.nonce = self.basic = ""
        self.asked: list[dict[str, str]] = []
        self.answer: Callable[[], tuple[int, Any]] = lambda: (
            200,
            {"id_token": self.token()},
        )

    def token(self) -> str:
        good = {"iss": self.url, "aud": "console", "sub": "ann", "exp": NOW_S + 864_000}
        claims = good | {"nonce": self.nonce} | self.claims
        given = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(given, self.key, "RS256", {"kid": "r1"})

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

"""Somebody who issues tokens: a key set behind a real HTTP server, and what attackers
would make of it.
"""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.support.fake_clock import FakeClock

NOW_S = int(FakeClock().now().timestamp())
"""The time of whom the tokens are for, who never asks this machine's clock."""
ISSUER, AUDIENCE = "https://id.example", "darkroom"
RSA_KEY, EC_KEY = (
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
)


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token; None takes one away."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": NOW_S + 2 * 86_400}
    return {
        name: value for name, value in (good | changes).items() if value is not None
    }


def encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def public(private: Any, kid: str, **more: Any) -> dict[str, Any]:
    """The public half as an entry of a key set."""
    algorithm: Any = (
        ECAlgorithm if isinstance(private, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    )
    entry: dict[str, Any] = json.loads(algorithm.to_jwk(private.public_key()))
    return (
        {key: entry[key] for key in entry if key != "key_ops"}
        | {"kid": kid, "use": "sig"}
        | more
    )


class Issuer:
    """`keys` is what is published, `status` how, or a `habit` writes the whole answer;
    `asked` counts.
    """

    def __init__(self) -> None:
        self.rsa, self.ec = RSA_KEY, EC_KEY
        self.keys: list[Any] = [public(self.rsa, "r1"), public(self.ec, "e1")]
        self.status, self.body, self.asked = 200, b"", 0
        self.habit: Callable[[BaseHTTPRequestHandler, int], None] | None = None
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                if issuer.habit:
                    with suppress(OSError):  # the other side may have had enough
                        issuer.habit(self, issuer.asked)
                    return
                body = issuer.body or json.dumps({"keys": issuer.keys}).encode()
                self.send_response(200 if self.path == "/elsewhere" else issuer.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Issuer:
        self._thread.start()
        return self

    def __exit__(
        self, *_: type[BaseException] | BaseException | TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def token(
        self, algorithm: str = "RS256", kid: str | None = None, **changes: Any
    ) -> str:
        key, own = (self.rsa, "r1") if algorithm == "RS256" else (self.ec, "e1")
        return jwt.encode(
            claims(**changes), key, algorithm, {"kid": own if kid is None else kid}
        )

"""The cookie of a session, and what must be true of a request before it counts.

Browsers send cookies along with requests that other pages cause. `SameSite=Strict` keeps
out other sites, but knows no ports: a page of another server on the same machine is of
the same site. Therefore a browser has to say that the request is of our own origin. And a
page of a stranger's name that was made to resolve to this machine (DNS rebinding) is of
its own origin, so the name itself must be ours.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import Scope

from handlers.http.auth.address import Addresses
from handlers.http.problems import Problem
from shared.runtime.settings import HttpSettings

OVER_HTTP = "darkroom"
OVER_HTTPS = "__Host-darkroom"
"""The prefix makes browsers refuse such a cookie from another host or by plain http."""
HINT = "darkroom-id-token"
HINT_PATH = "/console/oidc"
"""Nowhere else is it sent to."""
SAFE = ("GET", "HEAD")


class Cookies:
    """Reads and writes the cookie."""

    def __init__(self, settings: HttpSettings, addresses: Addresses) -> None:
        self._own_host = urlsplit(settings.api_url).netloc.lower()
        self._addresses = addresses

    def credential(self, scope: Scope) -> str | None:
        """What the cookie holds; None without one.

        Raises `Problem` 421 and 403 for a request that our own page did not send.
        """
        found = _cookies(scope, self._name(scope))
        if not found:
            return None
        self.check_own(scope)
        if len(found) > 1:
            # One of them was put there by another server of this machine.
            raise Problem(401, f"two cookies {self._name(scope)}", "signed_out")
        return found[0]

    def check_own(self, scope: Scope) -> None:
        """Raises `Problem` 421 for a host that is not ours, and 403 for a request of
        another page.
        """
        host = self.check_host(scope)
        if not self._is_own_origin(scope, host):
            raise Problem(403, "another page sent this request", "other_origin")

    def check_host(self, scope: Scope) -> str:
        """The host that is asked. Raises `Problem` 421 for one that is not ours."""
        host = _header(scope, b"host").lower()
        if not self._is_own_host(host):
            detail = f"the console is not at {host!r}; open it by its address, or set DARKROOM_API_URL to this one"
            raise Problem(421, detail, "unknown_host")
        return host

    def set_header(self, scope: Scope, credential: str, lasts_s: int) -> str:
        """`Set-Cookie`: for so long [s]; 0 deletes it."""
        return self._set(scope, self._name(scope), credential, lasts_s, "Strict")

    def attempt(self, scope: Scope) -> str | None:
        """What the cookie of a sign-in under way holds; None without one, and with two,
        of which another server of this machine may have put one there.

        Raises `Problem` 421 for a host that is not ours. The request comes from the
        provider's page, so its origin says nothing; what the cookie holds does.
        """
        self.check_host(scope)
        found = _cookies(scope, self._attempt_name(scope))
        return found[0] if len(found) == 1 else None

    def set_attempt(self, scope: Scope, content: str, lasts_s: int) -> str:
        """`Set-Cookie` of a sign-in: `Lax`, as the way back begins at another site."""
        return self._set(scope, self._attempt_name(scope), content, lasts_s, "Lax")

    def id_token(self, scope: Scope) -> str | None:
        """What the cookie of a sign-in by the provider holds; None without one.

        Raises `Problem` 421 and 403 for a request that our own page did not send.
        """
        self.check_own(scope)
        found = _cookies(scope, self._id_token_name(scope))
        return found[0] if len(found) == 1 else None

    def set_id_token(self, scope: Scope, content: str, lasts_s: int) -> str:
        """`Set-Cookie` of what signs out at the provider."""
        name = self._id_token_name(scope)
        return self._set(scope, name, content, lasts_s, "Strict", HINT_PATH)

    def _set(
        self,
        scope: Scope,
        name: str,
        content: str,
        lasts_s: int,
        same_site: str,
        path: str = "/",
    ) -> str:
        secure = "; Secure" if self._addresses.is_https(scope) else ""
        return f"{name}={content}; Max-Age={lasts_s}; Path={path}; HttpOnly; SameSite={same_site}{secure}"

    def _id_token_name(self, scope: Scope) -> str:
        return f"__Secure-{HINT}" if self._addresses.is_https(scope) else HINT

    def _attempt_name(self, scope: Scope) -> str:
        return f"{self._name(scope)}-sign-in"

    def _name(self, scope: Scope) -> str:
        return OVER_HTTPS if self._addresses.is_https(scope) else OVER_HTTP

    def _is_own_host(self, host: str) -> bool:
        """An address is no name, and `localhost` is nobody else's."""
        if host and host == self._own_host:
            return True
        name = re.sub(r":\d{1,5}$", "", host)
        return name == "localhost" or _is_address(name.strip("[]"))

    def _is_own_origin(self, scope: Scope, host: str) -> bool:
        safe = scope["method"] in SAFE
        site = _header(scope, b"sec-fetch-site")
        if site:
            # `none`: typed in by a person.
            return site == "same-origin" or (safe and site == "none")
        origin = _header(scope, b"origin")
        if not origin:
            return safe
        scheme = "https" if self._addresses.is_https(scope) else "http"
        return origin == f"{scheme}://{host}"


def _header(scope: Scope, wanted: bytes) -> str:
    """A header's value; empty where it is missing, or there twice."""
    found = [value for name, value in scope["headers"] if name == wanted]
    return found[0].decode("latin-1") if len(found) == 1 else ""


def _cookies(scope: Scope, wanted: str) -> list[str]:
    found = []
    for name, value in scope["headers"]:
        if name != b"cookie":
            continue
        for pair in value.decode("latin-1").split(";"):
            key, _, content = pair.strip().partition("=")
            if key == wanted:
                found.append(content)
    return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

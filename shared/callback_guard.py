"""Which URLs a webhook may call: public addresses over TLS, unless the settings allow
more (server-side request forgery).

`check_url` reads the text alone and touches no network. `resolve` looks the host name up
once; the sender connects to exactly the addresses that it returns, so that a name that
resolves differently a moment later changes nothing.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from queue import Empty, SimpleQueue
from urllib.parse import SplitResult, urlsplit

from shared.errors import Code, PermanentError, TransientError
from shared.runtime.settings import WebhookSettings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str, int], Iterable[str]]
"""Host name and port → its addresses as text; raises `OSError`."""

MAX_URL_CHARS = 1024
"""The URL travels in the object's metadata, which holds 2 KiB altogether."""
HTTP_PORT = 80
DEFAULT_PORTS = {"https": 443, "http": HTTP_PORT}

REFUSED = [
    ip_network(text)
    for text in (
        # this host, private, shared (CGNAT), link-local with the clouds' metadata, and
        # the registries' special purposes
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        # public by number, but every machine of one cloud reaches its host's services
        # there
        "168.63.129.16/32",
        # IPv6 that carries an IPv4 address inside (Teredo, 6to4), benchmarks,
        # documentation, and segment routing
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
    )
]
GLOBAL_IPV6 = ip_network("2000::/3")
"""All else (loopback, unique local, link-local, multicast, IPv4-mapped, NAT64) is not
given to public hosts.
"""

_LOOKUPS = threading.BoundedSemaphore(64)

_URL = re.compile(r"[!-~]+")
_NAME = re.compile(
    r"(?!.{254})([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True)
class Target:
    """A URL that passed `check_url`. `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"
        )


def check_url(url: str, settings: WebhookSettings) -> Target:
    """Raises `PermanentError(bad_parameter)` naming the rule. Touches no network."""
    parts, port = _parsed(url)
    _check_scheme(url, parts.scheme, settings)
    if "@" in parts.netloc or "#" in url:
        raise _refused("no user, no password and no fragment")
    if port is None:
        port = DEFAULT_PORTS[parts.scheme]
    _check_port(port, settings)
    path = parts.path or "/"
    if parts.query:
        path = f"{path}?{parts.query}"
    return Target(parts.scheme, _host(parts, settings), port, path)


def resolve(
    target: Target,
    settings: WebhookSettings,
    lookup: Lookup | None = None,
) -> list[Address]:
    """The addresses of a target, looked up once. If any of them is forbidden, the whole
    target is refused.

    Raises `PermanentError(bad_parameter)`; `TransientError` when the name cannot be
    resolved.
    """
    try:
        addresses = _addresses(target, settings, lookup)
    except (OSError, ValueError) as error:
        detail = "the host name cannot be resolved"
        raise TransientError(Code.INTERNAL, detail) from error
    if not addresses:
        raise TransientError(Code.INTERNAL, "the host name has no address")
    if not _is_allowed(target.host, settings):
        for address in addresses:
            _check_address(address, settings)
    return list(dict.fromkeys(addresses))


def _parsed(url: str) -> tuple[SplitResult, int | None]:
    if len(url) > MAX_URL_CHARS or not _URL.fullmatch(url) or "\\" in url:
        rule = f"at most {MAX_URL_CHARS} printable ASCII characters, no blank and no backslash"
        raise _refused(rule)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused("not a URL") from error
    return parts, port


def _check_scheme(
    url: str,
    scheme: str,
    settings: WebhookSettings,
) -> None:
    schemes = ["https"]
    if settings.callback_http:
        schemes.append("http")
    # `http:/host` and `http:host` are URLs to some parsers.
    if scheme not in schemes or not url[len(scheme) :].startswith("://"):
        beginnings = [f"{allowed}://" for allowed in schemes]
        raise _refused(f"it must begin with {' or '.join(beginnings)}")


def _check_port(port: int, settings: WebhookSettings) -> None:
    if port == HTTP_PORT and settings.callback_http:
        return
    if port not in _ports(settings):
        raise _refused(f"port {port} is none of DARKROOM_CALLBACK_PORTS")


def _addresses(
    target: Target,
    settings: WebhookSettings,
    lookup: Lookup | None,
) -> list[Address]:
    literal = _literal(target.host)
    if literal:
        return [literal]
    if lookup is None:
        within_s = settings.callback_timeout_s
        lookup = partial(_lookup, within_s=within_s)
    texts = lookup(target.host, target.port)
    return [ip_address(text) for text in texts]


def _host(
    parts: SplitResult,
    settings: WebhookSettings,
) -> str:
    """The host in lower case: a public name, or an address in its one ordinary spelling."""
    host = parts.hostname or ""
    literal = _literal(host)
    if literal:
        is_bracketed = parts.netloc.startswith("[")
        _check_spelling(literal, host, is_bracketed)
        if not _is_allowed(host, settings):
            _check_address(literal, settings)
    else:
        _check_name(host)
        if not _is_allowed(host, settings):
            _check_public_name(host)
    return host


def _check_spelling(
    literal: Address,
    host: str,
    is_bracketed: bool,
) -> None:
    is_ipv6 = isinstance(literal, IPv6Address)
    if is_bracketed != is_ipv6 or str(literal) != host:
        rule = "an IP address has its shortest ordinary spelling, IPv6 in brackets"
        raise _refused(rule)


def _check_name(host: str) -> None:
    _, _, last_label = host.rpartition(".")
    # 2130706433, 0x7f.1 and 0177.0.0.1 are addresses to some resolvers and names to
    # others.
    if not _NAME.fullmatch(host) or _NUMBER.fullmatch(last_label):
        rule = "the host must be a DNS name (ASCII, no dot at its end) or an ordinary IP address"
        raise _refused(rule)


def _check_public_name(host: str) -> None:
    if "." not in host or host.endswith(".localhost"):
        raise _refused("the host must be a full public DNS name")


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _check_address(
    address: Address,
    settings: WebhookSettings,
) -> None:
    if _is_in_allowed_network(address, settings):
        return
    is_refused = any(address in network for network in REFUSED)
    is_local_ipv6 = isinstance(address, IPv6Address) and address not in GLOBAL_IPV6
    if is_refused or is_local_ipv6:
        rule = "its address is not public; DARKROOM_CALLBACK_ALLOW names the exceptions"
        raise _refused(rule)


def _is_in_allowed_network(
    address: Address,
    settings: WebhookSettings,
) -> bool:
    # A scoped address names one of our own interfaces.
    if getattr(address, "scope_id", None) is not None:
        return False
    _, networks = _allowed(settings.callback_allow)
    return any(address in network for network in networks)


def _is_allowed(host: str, settings: WebhookSettings) -> bool:
    """Whether `DARKROOM_CALLBACK_ALLOW` names this host."""
    names, _ = _allowed(settings.callback_allow)
    return host in names


@lru_cache(maxsize=8)
def _allowed(text: str) -> tuple[frozenset[str], tuple[Network, ...]]:
    """Hosts by name, and networks."""
    names = set()
    networks = []
    for entry in re.split(r"[\s,]+", text.lower().strip()):
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            names.add(entry)
    return frozenset(names), tuple(networks)


def _ports(settings: WebhookSettings) -> set[int]:
    return {int(port) for port in re.split(r"[\s,]+", settings.callback_ports)}


def _lookup(
    host: str,
    port: int,
    within_s: float,
) -> list[str]:
    """The addresses of a host name by the system's resolver. Raises `OSError`.

    The resolver has no time limit of its own, and a name server of a stranger may never
    answer. So it is called on a thread that may be left behind, of which there are only
    so many.
    """
    if not _LOOKUPS.acquire(timeout=within_s):
        raise TimeoutError("too many names are being looked up")
    answers: SimpleQueue[list[str] | OSError] = SimpleQueue()

    def run() -> None:
        try:
            answers.put(_resolved(host, port))
        except OSError as error:
            answers.put(error)
        finally:
            _LOOKUPS.release()

    threading.Thread(
        target=run,
        name="lookup",
        daemon=True,
    ).start()
    try:
        answer = answers.get(timeout=within_s)
    except Empty:
        raise TimeoutError("the name servers did not answer in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _resolved(host: str, port: int) -> list[str]:
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


def _refused(rule: str) -> PermanentError:
    return PermanentError(Code.BAD_PARAMETER, f"callback: {rule}")

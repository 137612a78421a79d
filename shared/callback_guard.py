"""Where a callback may go: public addresses by TLS, unless the settings say otherwise
(server-side request forgery).

`check_url` looks at the text alone and is safe to call anywhere. `resolve` asks the
names' servers once; the caller connects to exactly the addresses that it returns, so
that a name that changes its mind meanwhile changes nothing.
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
"""Object metadata, in which the address travels, hold 2 KiB altogether."""
HTTP_PORT = 80
DEFAULT_PORTS = {"https": 443, "http": HTTP_PORT}

REFUSED = tuple(
    map(
        ip_network,
        (
            # this host, private, shared (CGNAT), link-local with the clouds' metadata,
            # and the registries' special purposes
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
            # public by number, but every machine of one cloud reaches its host's
            # services there
            "168.63.129.16/32",
            # IPv6 that carries an IPv4 address inside (Teredo, 6to4), benchmarks,
            # documentation, and routing to segments
            "2001::/23",
            "2001:db8::/32",
            "2002::/16",
            "3fff::/20",
            "5f00::/16",
        ),
    )
)
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
    """A URL that passed `check_url`. `path` is what is asked for, with its query."""

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
    if len(url) > MAX_URL_CHARS or not _URL.fullmatch(url) or "\\" in url:
        raise _refused(
            f"at most {MAX_URL_CHARS} printable ASCII characters, no blank and no backslash"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused("not a URL") from error
    schemes = ("https", "http") if settings.callback_http else ("https",)
    if parts.scheme not in schemes or not url[len(parts.scheme) :].startswith("://"):
        raise _refused(
            f"it must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
        )
    if "@" in parts.netloc or "#" in url:
        raise _refused("no user, no password and no fragment")
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    if port not in _ports(settings) and not (
        port == HTTP_PORT and settings.callback_http
    ):
        raise _refused(f"port {port} is none of DARKROOM_CALLBACK_PORTS")
    host = _host(parts, settings)
    return Target(
        parts.scheme,
        host,
        port,
        (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


def resolve(
    target: Target, settings: WebhookSettings, lookup: Lookup | None = None
) -> list[Address]:
    """The addresses of a target, looked up once. One that may not be called condemns
    all.

    Raises `PermanentError(bad_parameter)`; `TransientError` when the name cannot be
    resolved.
    """
    literal = _literal(target.host)
    try:
        ask = lookup or partial(_lookup, within_s=settings.callback_timeout_s)
        found = (
            [literal]
            if literal
            else [ip_address(text) for text in ask(target.host, target.port)]
        )
    except (OSError, ValueError) as error:
        raise TransientError(
            Code.INTERNAL, "the host name cannot be resolved"
        ) from error
    if not found:
        raise TransientError(Code.INTERNAL, "the host name has no address")
    if target.host not in _allowed(settings.callback_allow)[0]:
        for address in found:
            _check_address(address, settings)
    return list(dict.fromkeys(found))


def _host(parts: SplitResult, settings: WebhookSettings) -> str:
    """The host, lower case: a public name, or an address in its one ordinary spelling."""
    host = parts.hostname or ""
    if literal := _literal(host):
        bracketed = parts.netloc.startswith("[")
        if bracketed != isinstance(literal, IPv6Address) or str(literal) != host:
            raise _refused(
                "an IP address has its shortest ordinary spelling, IPv6 in brackets"
            )
        if host not in _allowed(settings.callback_allow)[0]:
            _check_address(literal, settings)
        return host
    if not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2]):
        # 2130706433, 0x7f.1 and 0177.0.0.1 are addresses to some resolvers and names to
        # others.
        raise _refused(
            "the host must be a DNS name (ASCII, no dot at its end) or an ordinary IP address"
        )
    if host not in _allowed(settings.callback_allow)[0] and (
        "." not in host or host.endswith(".localhost")
    ):
        raise _refused("the host must be a full public DNS name")
    return host


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _check_address(address: Address, settings: WebhookSettings) -> None:
    networks = _allowed(settings.callback_allow)[1]
    # A scoped address names one of our own interfaces.
    if getattr(address, "scope_id", None) is None and any(
        address in network for network in networks
    ):
        return
    refused = any(address in network for network in REFUSED)
    if refused or (isinstance(address, IPv6Address) and address not in GLOBAL_IPV6):
        raise _refused(
            "its address is not public; DARKROOM_CALLBACK_ALLOW names the exceptions"
        )


@lru_cache(maxsize=8)
def _allowed(text: str) -> tuple[frozenset[str], tuple[Network, ...]]:
    """Hosts by name, and networks."""
    names, networks = set(), []
    for entry in re.split(r"[\s,]+", text.lower().strip()):
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            names.add(entry)
    return frozenset(names), tuple(networks)


def _ports(settings: WebhookSettings) -> set[int]:
    return {int(port) for port in re.split(r"[\s,]+", settings.callback_ports)}


def _lookup(host: str, port: int, within_s: float) -> Iterable[str]:
    """The system's resolver has no time limit of its own, and somebody else's name
    server may never answer.

    So it is asked on a thread that may be left behind, of which there are only so many.
    """
    if not _LOOKUPS.acquire(timeout=within_s):
        raise TimeoutError("too many names are being looked up")
    answers: SimpleQueue[list[str] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([str(entry[4][0]) for entry in entries])
        except OSError as error:
            answers.put(error)
        finally:
            _LOOKUPS.release()

    threading.Thread(target=ask, name="lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=within_s)
    except Empty:
        raise TimeoutError("the name servers did not answer in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _refused(rule: str) -> PermanentError:
    return PermanentError(Code.BAD_PARAMETER, f"callback: {rule}")

"""The network address of a client: that of the peer, or what a trusted proxy reports."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from shared.errors import SettingsError

UNKNOWN = "unknown"
"""The address of a peer that has none: a Unix socket."""

Network = IPv4Network | IPv6Network


class Addresses:
    """`trusted` lists addresses and networks of proxies, by commas. Raises
    `SettingsError`.
    """

    def __init__(self, trusted: str) -> None:
        parts = [part.strip() for part in trusted.split(",")]
        try:
            self._trusted = [ip_network(part) for part in parts if part]
        except ValueError as error:
            raise SettingsError(f"DARKROOM_TRUSTED_PROXIES: {error}") from error

    def of(self, scope: Scope) -> str:
        """The client's address; an IPv6 one as its /64, which one household has to
        itself.
        """
        address = _peer(scope)
        if not self._trusts(address):
            return _subject(address)
        # From the right: whatever is further left than the first untrusted address was
        # written by that client.
        for hop in reversed(_forwarded_for(scope)):
            if _parsed(hop) is None:
                break
            address = hop
            if not self._trusts(hop):
                break
        return _subject(address)

    def is_https(self, scope: Scope) -> bool:
        """Whether the client speaks TLS, with us or with a trusted proxy."""
        if scope.get("scheme") == "https":
            return True
        schemes = _values(scope, b"x-forwarded-proto")
        return self._trusts(_peer(scope)) and schemes[-1:] == ["https"]

    def _trusts(self, address: str) -> bool:
        if not self._trusted:
            return False
        parsed = _parsed(address)
        if parsed is None:
            return False
        return any(parsed.network_address in network for network in self._trusted)


def network(address: str) -> str:
    """What a log line says of an address: its network (/24, /48), not the person."""
    parsed = _parsed(address.partition("/")[0])
    if parsed is None:
        return UNKNOWN
    prefix = 24 if parsed.version == 4 else 48
    return str(parsed.supernet(new_prefix=prefix))


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else UNKNOWN


def _forwarded_for(scope: Scope) -> list[str]:
    header = ",".join(_values(scope, b"x-forwarded-for"))
    hops = [hop.strip() for hop in header.split(",")]
    return [hop for hop in hops if hop]


def _parsed(address: str) -> Network | None:
    """An address as the network of one address; an IPv4 one inside IPv6 as IPv4."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped:
        return ip_network(mapped)
    without_zone, _, _ = str(parsed).partition("%")
    return ip_network(without_zone)


@lru_cache(4096)
def _subject(address: str) -> str:
    parsed = _parsed(address)
    if parsed is None:
        return UNKNOWN
    if parsed.version == 4:
        return str(parsed.network_address)
    return str(parsed.supernet(new_prefix=64))


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]

"""Whose network address a request comes from: the peer's, or what proxies that we trust
say of theirs.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.types import Scope

from shared.errors import SettingsError

UNKNOWN = "unknown"
"""A peer without an address: a Unix socket."""


class Addresses:
    """`trusted`: addresses and networks of our proxies, by commas. Raises
    `SettingsError`.
    """

    def __init__(self, trusted: str) -> None:
        try:
            self._trusted = [
                ip_network(part.strip()) for part in trusted.split(",") if part.strip()
            ]
        except ValueError as error:
            raise SettingsError(f"DARKROOM_TRUSTED_PROXIES: {error}") from error

    def of(self, scope: Scope) -> str:
        """The client's address, an IPv6 one as its /64, which one household has to
        itself.
        """
        address = scope["client"][0] if scope.get("client") else UNKNOWN
        if not self._trusts(address):
            return _subject(address)
        hops = ",".join(_values(scope, b"x-forwarded-for")).split(",")
        # From the right: what stands further left than the first stranger was written
        # by that stranger.
        for hop in reversed([hop.strip() for hop in hops if hop.strip()]):
            if _parsed(hop) is None:
                break
            address = hop
            if not self._trusts(hop):
                break
        return _subject(address)

    def is_https(self, scope: Scope) -> bool:
        """Does the client speak TLS, with us or with a proxy that we trust?"""
        if scope.get("scheme") == "https":
            return True
        peer = scope["client"][0] if scope.get("client") else UNKNOWN
        return self._trusts(peer) and _values(scope, b"x-forwarded-proto")[-1:] == [
            "https"
        ]

    def _trusts(self, address: str) -> bool:
        parsed = _parsed(address) if self._trusted else None
        return parsed is not None and any(
            parsed.network_address in network for network in self._trusted
        )


def network(address: str) -> str:
    """What a log line says: the network (/24, /48), not the person."""
    parsed = _parsed(address.partition("/")[0])
    if parsed is None:
        return UNKNOWN
    return str(parsed.supernet(new_prefix=24 if parsed.version == 4 else 48))


def _parsed(address: str) -> IPv4Network | IPv6Network | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return ip_network(mapped or str(parsed).partition("%")[0])


@lru_cache(4096)
def _subject(address: str) -> str:
    parsed = _parsed(address)
    if parsed is None:
        return UNKNOWN
    return str(
        parsed.network_address
        if parsed.version == 4
        else parsed.supernet(new_prefix=64)
    )


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]

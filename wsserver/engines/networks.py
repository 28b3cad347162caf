"""Peers that may say for whom they speak, and the key under which a client is counted (design section 3)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from wscore.errors import ConfigError

UNIX: Final = "unix"  # stands for whoever connects to a Unix socket: such a peer has no address
IPV6_CLIENT_BITS: Final = 64  # what a provider gives to one customer, who then has 2^64 addresses

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_ip(text: str) -> IpAddress | None:
    """Return the address that `text` is, IPv4 for an IPv4-mapped one, or None."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def client_key(ip: str) -> str:
    """Return what a limit per address counts by: an IPv4 address as it is, an IPv6 one by its /64."""
    if ":" not in ip:
        return ip
    address = parse_ip(ip)
    if not isinstance(address, ipaddress.IPv6Address):
        return ip if address is None else str(address)
    bits = 128 - IPV6_CLIENT_BITS
    return f"{ipaddress.IPv6Address(int(address) >> bits << bits)}/{IPV6_CLIENT_BITS}"


class TrustedNetworks:
    """The networks of `--trusted-proxy`; false when there are none."""

    __slots__ = ("_networks", "_unix")

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """Read addresses, networks in CIDR notation and `unix`; raises ConfigError for anything else."""
        names = frozenset(entries)
        self._unix = UNIX in names
        self._networks = tuple(_network(name) for name in sorted(names - {UNIX}))

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def __contains__(self, peer_ip: str | None) -> bool:
        """Tell whether the peer is trusted; None is one on a Unix socket."""
        if peer_ip is None:
            return self._unix
        if not self._networks:
            return False
        address = parse_ip(peer_ip)
        return address is not None and any(address in network for network in self._networks)


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(entry)
    except ValueError:
        pass
    try:
        mend = f"did you mean {ipaddress.ip_network(entry, strict=False)}?"
    except ValueError:
        mend = f"write it as 10.0.0.0/8, 192.0.2.1, 2001:db8::/32 or {UNIX}"
    raise ConfigError("--trusted-proxy", f"{entry!r} is not a network", mend)

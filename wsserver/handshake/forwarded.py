"""Who made a request that came through proxies: X-Forwarded-For or Forwarded, read from the right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wsserver.engines.networks import TrustedNetworks, parse_ip
from wsserver.engines.request import HandshakeRequest


class ForwardedHeader(StrEnum):
    """Which header names the client; the other one is ignored, since a proxy passes on what it does not set."""

    X_FORWARDED_FOR = "x-forwarded-for"
    FORWARDED = "forwarded"


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy says of the request it got; None is what it does not say, or not so that it can be read."""

    ip: str | None
    host: str | None = None
    scheme: str | None = None


_SECURE: Final = frozenset(("https", "wss"))
_OWS: Final = " \t"
# An address with an optional port, which may be obfuscated too (RFC 7239 section 6).
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?")
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")')
_ESCAPE = re.compile(r"\\(.)")
# The last element alone, found from its end: what a client wrote in front of it may be broken on purpose, for instance
# with a quote that nothing closes.
_LAST_ELEMENT = re.compile(rf"(?:^|,)[ \t]*({_PAIR.pattern}(?:[ \t]*;[ \t]*{_PAIR.pattern})*)[ \t]*$")


class Proxies:
    """Notes on each request who made it, for which host, and whether by TLS, as far as trusted proxies say so.

    `by_tls` is what the server itself knows: it speaks TLS.
    """

    __slots__ = ("_by_tls", "_forwarded_host", "_header", "_hops", "_trusted")

    def __init__(
        self,
        trusted: TrustedNetworks,
        header: ForwardedHeader = ForwardedHeader.X_FORWARDED_FOR,
        *,
        forwarded_host: bool = False,
        by_tls: bool = False,
    ) -> None:
        self._trusted = trusted
        self._header = header.value
        self._hops = _HOPS[header]
        self._forwarded_host = forwarded_host
        self._by_tls = by_tls

    def resolve(self, request: HandshakeRequest, peer_ip: str | None) -> None:
        """Fill in `client_ip`, `forwarded_host` and `is_secure` of a request that came from `peer_ip`.

        The client is the first address from the right that is not trusted. Where an address cannot be read, the
        trusted one that spoke last counts.
        """
        request.client_ip = peer_ip
        request.is_secure = self._by_tls
        if not self._trusted or peer_ip not in self._trusted:
            return
        scheme = None
        if self._header == ForwardedHeader.X_FORWARDED_FOR:
            scheme = _last(request, "x-forwarded-proto")
            if self._forwarded_host:
                request.forwarded_host = _last(request, "x-forwarded-host")
        for hop in self._hops(request.header_values(self._header)):
            if self._forwarded_host and hop.host is not None:
                request.forwarded_host = hop.host
            scheme = hop.scheme or scheme
            if hop.ip is None:
                break
            request.client_ip = hop.ip
            if hop.ip not in self._trusted:
                break
        if scheme is not None:
            request.is_secure = scheme.lower() in _SECURE


def x_forwarded_hops(lines: Sequence[str]) -> Iterator[Hop]:
    """Yield what X-Forwarded-For says, the nearest proxy's word first."""
    for item in reversed(",".join(lines).split(",")) if lines else ():
        yield Hop(parse_node(item.strip(_OWS), is_bare=True))


def forwarded_hops(lines: Sequence[str]) -> Iterator[Hop]:
    """Yield what Forwarded says (RFC 7239), the nearest proxy's word first; ends where it cannot be read."""
    text = ",".join(lines)
    while text:
        element = _LAST_ELEMENT.search(text)
        if element is None:
            yield Hop(None)
            return
        yield _hop(element[1])
        text = text[: element.start()]


def parse_node(text: str, *, is_bare: bool = False) -> str | None:
    """Return the address in `192.0.2.1`, `192.0.2.1:80` or `[2001:db8::1]:80`, and where `is_bare` in `2001:db8::1`.

    None for anything else: `unknown`, an obfuscated identifier, garbage.
    """
    node = _NODE.fullmatch(text)
    if node is not None:
        address = parse_ip(node[1] or node[2])
    else:
        address = parse_ip(text) if is_bare and _BARE_IPV6.fullmatch(text) else None
    return None if address is None else str(address)


def _hop(element: str) -> Hop:
    pairs = [(name.lower(), _ESCAPE.sub(r"\1", quoted) or token) for name, token, quoted in _PAIR.findall(element)]
    values = dict(pairs)
    if len(values) < len(pairs):  # RFC 7239 section 4 forbids it: which of the two would be true?
        return Hop(None)
    return Hop(parse_node(values.get("for", "")), values.get("host"), values.get("proto"))


def _last(request: HandshakeRequest, name: str) -> str | None:
    items = request.header_items(name)
    return items[-1] if items else None


_HOPS: Final[dict[ForwardedHeader, Callable[[Sequence[str]], Iterable[Hop]]]] = {
    ForwardedHeader.X_FORWARDED_FOR: x_forwarded_hops,
    ForwardedHeader.FORWARDED: forwarded_hops,
}

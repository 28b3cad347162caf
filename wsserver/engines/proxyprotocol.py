"""The PROXY protocol, versions 1 and 2: a header in front of everything, TLS too, that names the client.

https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt, section 2. What is not exactly that is refused: a proxy
that is to be believed writes nothing else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wscore.errors import WsctlError
from wsserver.engines.networks import parse_ip

MAX_BYTES: Final = 4096  # room for what a proxy may add about TLS and its network
_V1: Final = b"PROXY "
_V1_MAX_BYTES: Final = 107
_V1_LINE: Final = re.compile(r"PROXY (?:UNKNOWN(?: .*)?|(TCP[46]) (\S+) (\S+) ([0-9]{1,5}) ([0-9]{1,5}))\r\n")
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD: Final = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC: Final = 0x00
# Family and transport, always a stream: how long the two addresses and ports are, and the class of an address.
_FAMILIES: Final = {0x11: (12, ipaddress.IPv4Address, 4), 0x21: (36, ipaddress.IPv6Address, 16), 0x31: (216, None, 0)}
_TLV_HEAD: Final = struct.Struct("!BH")
_CRC32C: Final = 0x03  # the type of the checksum
_CRC32C_POLYNOMIAL: Final = 0x82F63B78


class ProxyHeaderError(WsctlError):
    """A connection does not begin with a PROXY header."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header of `size` bytes; `ip` is the client's address, None where the proxy speaks for itself or knows none."""

    size: int
    ip: str | None


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Read the header that `data` begins with; None as long as all of `data` belongs to it and more is to come.

    Raises ProxyHeaderError.
    """
    if data.startswith(_V1):
        return _parse_v1(data)
    if data.startswith(_V2):
        return _parse_v2(data)
    if _V1.startswith(data) or _V2.startswith(data):
        return None
    raise ProxyHeaderError("no PROXY header")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, _V1_MAX_BYTES) + 1
    if not end:
        if len(data) >= _V1_MAX_BYTES:
            raise ProxyHeaderError(f"a PROXY line over {_V1_MAX_BYTES} bytes")
        return None
    match = _V1_LINE.fullmatch(data[:end].decode("latin-1"))
    if match is None:
        raise ProxyHeaderError("a malformed PROXY line")
    family, *addresses, source_port, target_port = match.groups()
    if family is None:
        return ProxyHeader(end, None)
    client, server = (_address(address, family) for address in addresses)
    if client is None or server is None or max(int(source_port), int(target_port)) > 0xFFFF:
        raise ProxyHeaderError("a malformed address in a PROXY line")
    return ProxyHeader(end, client)


def _address(text: str, family: str) -> str | None:
    kind = ipaddress.IPv4Address if family == "TCP4" else ipaddress.IPv6Address
    try:
        kind(text)
    except ValueError:
        return None
    return str(parse_ip(text))


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < _V2_HEAD.size:
        return None
    _, command, family, length = _V2_HEAD.unpack_from(data)
    size = _V2_HEAD.size + length
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("an unknown command in a PROXY header")
    if size > MAX_BYTES:
        raise ProxyHeaderError(f"a PROXY header over {MAX_BYTES} bytes")
    if len(data) < size:
        return None
    if command == _LOCAL or family == _UNSPEC:  # the rest means nothing
        return ProxyHeader(size, None)
    if family not in _FAMILIES:
        raise ProxyHeaderError("an unknown family in a PROXY header")
    address_bytes, kind, width = _FAMILIES[family]
    if length < address_bytes:
        raise ProxyHeaderError("a PROXY header that is too short")
    _check_tlvs(data[:size], _V2_HEAD.size + address_bytes)
    if kind is None:  # a Unix socket's: the client is on the proxy's machine
        return ProxyHeader(size, None)
    return ProxyHeader(size, str(parse_ip(str(kind(data[_V2_HEAD.size : _V2_HEAD.size + width])))))


def _check_tlvs(header: bytes, position: int) -> None:
    """Raise ProxyHeaderError unless the fields behind the addresses are whole and the checksum, if any, is right."""
    while position < len(header):
        start = position + _TLV_HEAD.size
        if start > len(header):
            raise ProxyHeaderError("a malformed field in a PROXY header")
        kind, size = _TLV_HEAD.unpack_from(header, position)
        position = start + size
        if position > len(header):
            raise ProxyHeaderError("a malformed field in a PROXY header")
        if kind == _CRC32C:
            blank = header[:start] + bytes(size) + header[position:]
            if size != 4 or int.from_bytes(header[start:position], "big") != crc32c(blank):
                raise ProxyHeaderError("a wrong checksum in a PROXY header")


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (RFC 4960 appendix B) of a few bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CRC32C_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class ProxyHeaderReader:
    """Reads the header off a connection, and not one byte more: what follows is for TLS or HTTP.

    `done` gets the header, or what is wrong with it, or None for a peer that went away; it is called once.
    """

    __slots__ = ("_done", "_loop", "_received", "_socket")

    def __init__(
        self, connection: socket.socket, done: Callable[[ProxyHeader | ProxyHeaderError | None], None]
    ) -> None:
        self._socket = connection
        self._done = done
        self._received = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection, self._read)

    def close(self) -> None:
        """Stop reading; `done` is not called any more."""
        self._loop.remove_reader(self._socket)

    def _read(self) -> None:
        result: ProxyHeader | ProxyHeaderError | None = None
        try:
            peeked = self._socket.recv(MAX_BYTES, socket.MSG_PEEK)
            if peeked:
                result = parse_proxy_header(self._received + peeked)
                if result is None:
                    self._received += self._socket.recv(len(peeked))  # all of it is the header's
                    return
                self._socket.recv(result.size - len(self._received))
        except (BlockingIOError, InterruptedError):
            return
        except ProxyHeaderError as error:
            result = error
        except OSError:
            result = None
        self.close()
        self._done(result)

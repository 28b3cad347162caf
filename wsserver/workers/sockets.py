"""The listening sockets of all workers: one a slot, bound before any worker starts and open for as long as all run."""

from __future__ import annotations

import socket
from typing import Any

from wsserver.engines.listener import BACKLOG


def open_slots(host: str, port: int, count: int) -> list[tuple[socket.socket, ...]]:
    """Return the listening sockets of `count` slots, one for each address of `host`; raises OSError.

    The kernel spreads connections over sockets that share a port, by the client's address and port. They queue up
    at a slot while nobody accepts there, so that a worker that starts anew loses none.
    """
    addresses = _addresses(host, port)
    slots: list[tuple[socket.socket, ...]] = []
    try:
        for _ in range(count):
            bound = tuple(_listen(family, address) for family, address in addresses)
            slots.append(bound)
            if port == 0:  # the first one chose a free port for all
                port = bound[0].getsockname()[1]
                addresses = [(family, (address[0], port, *address[2:])) for family, address in addresses]
    except BaseException:
        for bound in slots:
            for listening in bound:
                listening.close()
        raise
    return slots


def _addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses: list[tuple[int, tuple[Any, ...]]] = [(int(family), address) for family, _, _, _, address in found]
    return addresses[:1] if port == 0 else list(dict.fromkeys(addresses))  # two families would get two ports


def _listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound

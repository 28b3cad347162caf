"""What supervisor and worker say to each other: JSON lines over a pair of sockets.

A worker says `ready` with its URL, and what others call its process. The supervisor says `adopt` or `release` with a
slot: accept there too, or no more. The end of the connection is the end of the other one.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

# Internal: how a worker is told what it is. Nobody sets it, so it has none of the names that users know.
VARIABLE: Final = "_WSCTL_WORKER"
MAX_LINE_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is started with: its slot, the descriptors of all slots' sockets, and those of two pairs.

    Over one comes control, over the other what the operations port asks.
    """

    slot: int
    slots: tuple[tuple[int, ...], ...]
    control: int
    questions: int

    def encode(self) -> str:
        """Return it as the value of `VARIABLE`."""
        return json.dumps([self.slot, self.slots, self.control, self.questions])


def take_assignment() -> Assignment | None:
    """Return what this process was started as, None unless it is a worker; what it starts itself does not see it."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    slot, slots, control, questions = json.loads(text)
    return Assignment(slot, tuple(map(tuple, slots)), control, questions)


class ControlLine:
    """One end of the pair, on the running event loop. `on_message` gets each message, `on_end` is called once."""

    def __init__(
        self, end: socket.socket, on_message: Callable[[dict[str, Any]], None], on_end: Callable[[], None]
    ) -> None:
        end.setblocking(False)
        self._end = end
        self._on_message = on_message
        self._on_end = on_end
        self._read = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end, self._receive)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; to an end that is gone, or does not read, it is lost."""
        with suppress(OSError):
            self._end.send(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """Hang up."""
        if self._end.fileno() >= 0:
            self._loop.remove_reader(self._end)
            self._end.close()

    def _receive(self) -> None:
        try:
            data = self._end.recv(MAX_LINE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self._on_end()
            return
        *lines, self._read = (self._read + data).split(b"\n")
        for line in lines:
            self._on_message(json.loads(line))

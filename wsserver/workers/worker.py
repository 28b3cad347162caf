"""A worker's side: it listens at its slot, says when it does, and accepts at another's slot when it is asked to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wsserver.workers.control import Assignment, ControlLine
from wsserver.workers.questions import AnswerLine, Respond


class SharedServer(Protocol):
    """What a worker does with sockets that it shares."""

    def accept_at(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections there too."""

    def accept_no_more_at(self, sockets: Sequence[socket.socket]) -> None:
        """Leave what comes there to others; connections stay."""


class WorkerSide:
    """Knows the slots and the supervisor; `on_orphaned` is called when that is gone."""

    def __init__(self, assignment: Assignment, on_orphaned: Callable[[], None]) -> None:
        self.slot = assignment.slot
        self._slots = [tuple(socket.socket(fileno=number) for number in numbers) for numbers in assignment.slots]
        self._server: SharedServer | None = None
        self._adopted: set[int] = set()
        self._line = ControlLine(socket.socket(fileno=assignment.control), self._told, on_orphaned)
        self._questions = socket.socket(fileno=assignment.questions)
        self._answers: AnswerLine | None = None

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Where it listens."""
        return self._slots[self.slot]

    def answer(self, respond: Respond) -> None:
        """Answer what the operations port asks from now on."""
        self._answers = AnswerLine(self._questions, respond)

    def ready(self, server: SharedServer, url: str, process: str = "") -> None:
        """Say that it serves, and what the other processes that share the broker call it."""
        self._server = server
        self._line.send({"ready": url, "process": process})

    def _told(self, message: dict[str, Any]) -> None:
        if self._server is None:
            return
        if (slot := message.get("adopt")) is not None and slot not in self._adopted:
            self._adopted.add(slot)
            self._server.accept_at(self._slots[slot])
        elif (slot := message.get("release")) is not None and slot in self._adopted:
            self._adopted.discard(slot)
            self._server.accept_no_more_at(self._slots[slot])

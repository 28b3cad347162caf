"""One worker as the supervisor sees it: a process, whether it serves, and how to end it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from wsserver.starting import start_program
from wsserver.workers.control import VARIABLE, Assignment, ControlLine
from wsserver.workers.questions import QuestionLine


class WorkerProcess:
    """A process that was started with a slot.

    `ready` ends with its URL, or None if it ended before; `ended` with its code, which below 0 is a signal's.
    `questions` is where the operations port asks it, `process` what others that share the broker call it.
    """

    def __init__(
        self, slot: int, process: asyncio.subprocess.Process, end: socket.socket, questions: socket.socket
    ) -> None:
        self.slot = slot
        self.pid = process.pid
        self._process = process
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[str | None] = loop.create_future()
        self._line = ControlLine(end, self._told, lambda: None)
        self.questions = QuestionLine(questions)
        self.process = ""
        self.ended = loop.create_task(self._wait())

    @property
    def is_serving(self) -> bool:
        """Whether it has said that it serves, and lives."""
        return self.ready.done() and self.ready.result() is not None and not self.ended.done()

    def tell(self, **message: Any) -> None:
        """Send it a message."""
        self._line.send(message)

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def end(self, within_s: float) -> int:
        """Ask it to end in order, and end it after `within_s`; returns its code."""
        self.signal(signal.SIGTERM)
        await asyncio.wait((self.ended,), timeout=within_s)
        if not self.ended.done():
            self.signal(signal.SIGKILL)
        return await self.ended

    def _told(self, message: dict[str, Any]) -> None:
        url = message.get("ready")
        if isinstance(url, str) and not self.ready.done():
            self.process = str(message.get("process", ""))
            self.ready.set_result(url)

    async def _wait(self) -> int:
        code = await self._process.wait()
        self._line.close()
        self.questions.close()
        if not self.ready.done():
            self.ready.set_result(None)
        return code


async def start_worker(command: Sequence[str], slot: int, slots: Sequence[Sequence[socket.socket]]) -> WorkerProcess:
    """Start the command as a worker; raises OSError.

    It is in a session of its own: what a terminal sends to all that it started goes to the supervisor alone.
    """
    ours, theirs = socket.socketpair()
    asking, answering = socket.socketpair()
    numbers = tuple(tuple(bound.fileno() for bound in sockets) for sockets in slots)
    assignment = Assignment(slot, numbers, theirs.fileno(), answering.fileno())
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    try:
        process = await start_program(
            *command,
            env={**environment, VARIABLE: assignment.encode()},
            pass_fds=(*(number for group in numbers for number in group), theirs.fileno(), answering.fileno()),
            start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL,
        )
    except BaseException:
        ours.close()
        asking.close()
        raise
    finally:
        theirs.close()
        answering.close()
    return WorkerProcess(slot, process, ours, asking)

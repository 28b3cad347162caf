"""Runs a plan in the driver's process: the plan goes in, JSON lines come out, an interrupt is passed on.

The driver is a process of its own because Locust patches the sockets and threads of the one that imports it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import msgspec

from loadtest.wire import DriverReport, Measured, Plan, RunProgress
from wscore.errors import ConfigError, CredentialError, TargetError, WsctlError
from wscore.installation import NotInstalledError
from wscore.text import redact

# -P: a directory `loadtest` where the command is run, and people do have one, must not be taken for this package.
DRIVER: Final = (sys.executable, "-P", "-m", "loadtest.driver")
EXIT_WRONG_INPUT: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_AUTH_REFUSED: Final = 4
EXIT_TOO_MUCH: Final = 5
MAX_LINE_BYTES: Final = 64 << 20
SILENCE_S: Final = 60.0  # it reports about once a second
STOP_S: Final = 10.0  # for its last line after an interrupt, beside the plan's drain time
HOLD_BACK_S: Final = 0.5
_TRACEBACK: Final = "Traceback (most recent call last)"


class TargetUnreachableError(TargetError):
    """No connection to the target came about."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = redact(url)
        self.reason = reason

    def __str__(self) -> str:
        return f"no connection to {self.url}" + (f": {self.reason}" if self.reason else "")


# What helps against what a target says; who is refused by an HTTP status may have no token at all.
_MENDS: Final = {
    "HTTP ": "give what lets you in: --token, -u, --header, --cookie, or an --origin that it allows",
    "SESSION_CREATE_FAILED": "--users makes a token for each connection and its session, with the secret",
}


class TokenRefusedError(CredentialError):
    """The target refused the tokens, or lets nobody in."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        mend = next((f"; {text}" for start, text in _MENDS.items() if self.reason.startswith(start)), "")
        what = "lets nobody in" if self.reason.startswith("HTTP ") else "refused the token"
        return f"the server {what}" + (f": {self.reason}{mend}" if self.reason else "")


class DriverFailedError(WsctlError):
    """The driver ended without a result; `code` is its exit code if it ended by itself."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason, code)
        self.reason = reason
        self.code = code

    def __str__(self) -> str:
        ending = "" if self.code is None else f" with {self.code}"
        return f"the load driver failed{ending}: {self.reason or 'it said nothing'}"


class TooMuchError(WsctlError):
    """This machine does not allow the generator what the plan asks for."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class NothingMeasuredError(WsctlError):
    """The run was interrupted before it measured anything."""

    def __str__(self) -> str:
        return "interrupted before anything was measured"


@dataclass(frozen=True, slots=True)
class Run:
    """What a run came to, and its seconds."""

    measured: Measured
    series: tuple[RunProgress, ...]


class Driver:
    """One run of a plan; `on_progress` gets its seconds as they come, `on_note` what it says to people."""

    def __init__(
        self,
        plan: Plan,
        *,
        on_progress: Callable[[RunProgress], None],
        on_note: Callable[[str], None],
        command: Sequence[str] = DRIVER,
    ) -> None:
        self._plan = plan
        self._on_progress = on_progress
        self._on_note = on_note
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._interrupts = 0
        self._series: list[RunProgress] = []
        self._measured: Measured | None = None
        self._last_words = ""

    async def run(self) -> Run:
        """Run it to its end.

        Raises NotInstalledError without Locust, TargetUnreachableError, TokenRefusedError, NothingMeasuredError after
        an interrupt, TooMuchError where this machine is the limit, and DriverFailedError for everything else that
        leaves no result.
        """
        if find_spec("locust") is None:
            raise NotInstalledError("locust")
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
            start_new_session=True,  # Ctrl-C in a terminal comes through `interrupt` alone
        )
        if self._interrupts:
            self._signal()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(process))
                await self._hand_over(process)
                await self._read(process)
                await self._wait(process)
        except BaseExceptionGroup as failures:  # ours is the only one: listening does not fail
            raise failures.exceptions[0] from None
        finally:
            self._kill()
            await process.wait()
        if self._measured is None:
            raise self._failure(process.returncode or 0)
        return Run(self._measured, tuple(self._series))

    def interrupt(self) -> None:
        """End it early: the first time with what was measured so far, the second time at once."""
        self._interrupts += 1
        self._signal()

    def _signal(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        if self._interrupts > 1:
            self._kill()
        else:
            self._process.send_signal(signal.SIGINT)
            timeout_s = STOP_S + self._plan.drain_s
            asyncio.get_running_loop().call_later(timeout_s, self._kill)

    def _kill(self) -> None:
        """Kill it with the processes that it started."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _hand_over(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        with suppress(ConnectionError):  # it is gone; its exit code says why
            process.stdin.write(msgspec.json.encode(self._plan))
            await process.stdin.drain()
        process.stdin.close()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        decoder = msgspec.json.Decoder(DriverReport)
        while line := await self._next_line(process.stdout):
            try:
                message = decoder.decode(line)
            except msgspec.MsgspecError as error:
                raise DriverFailedError(f"it wrote what is no report: {error}") from None
            if isinstance(message, Measured):
                self._measured = message
            else:
                self._series.append(message)
                self._on_progress(message)

    async def _next_line(self, stdout: asyncio.StreamReader) -> bytes:
        waits_for_others = not self._series and (self._plan.worker_of or self._plan.master_port)
        try:
            async with asyncio.timeout(None if waits_for_others else SILENCE_S + self._plan.drain_s):
                return await stdout.readline()
        except TimeoutError:
            raise DriverFailedError(f"it was silent for {SILENCE_S:g} s") from None
        except ValueError:
            raise DriverFailedError("it wrote a line without an end") from None

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Pass its narration on, but no traceback, and not the last line before its end: that will be the error."""
        assert process.stderr is not None
        loop = asyncio.get_running_loop()
        held: asyncio.TimerHandle | None = None
        is_traceback = False
        async for line in process.stderr:
            text = line.decode(errors="replace").rstrip()
            is_traceback = is_traceback or text.startswith(_TRACEBACK)
            if not text:
                continue
            if held is not None and not held.cancelled() and held.when() > loop.time():
                held.cancel()
                self._on_note(self._last_words)
            held = None
            self._last_words = text
            if not is_traceback and not self._interrupts:
                held = loop.call_later(HOLD_BACK_S, self._on_note, text)
        if held is not None and held.when() > loop.time():
            held.cancel()
            if self._measured is not None:
                self._on_note(self._last_words)

    async def _wait(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            self._kill()

    def _failure(self, code: int) -> WsctlError:
        if self._interrupts:
            return NothingMeasuredError()
        if code == EXIT_WRONG_INPUT:
            place, _, problem = self._last_words.partition(": ")
            return ConfigError(place, problem)
        if code == EXIT_UNREACHABLE:
            return TargetUnreachableError(self._plan.url, self._last_words)
        if code == EXIT_AUTH_REFUSED:
            return TokenRefusedError(self._last_words)
        if code == EXIT_TOO_MUCH:
            return TooMuchError(self._last_words)
        return DriverFailedError(self._last_words, code)

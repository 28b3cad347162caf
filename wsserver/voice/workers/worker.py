"""The pool's end of one worker process: starts it, numbers the calls, notices when it hangs or is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from wscore.errors import ConfigError
from wscore.units import format_figure
from wsserver.starting import start_program, to_the_end
from wsserver.telemetry.logs import EventLog
from wsserver.voice.stages import StageError
from wsserver.voice.workers.wire import (
    LENGTH_BYTES,
    Call,
    Close,
    Done,
    Failed,
    LoadModel,
    Ready,
    Refused,
    Reply,
    Request,
    Start,
    WireError,
    body_length,
    decode_reply,
    encode,
)

EXIT_S: Final = 1.0  # for a process that has closed its end already
CHILD: Final = "wsserver.voice.workers.child"
TRY_BY_HAND: Final = f"see whether `{os.path.basename(sys.executable)} -m {CHILD} </dev/null` runs"

Answer = bytes | StageError


class WorkerLostError(StageError):
    """The worker that had the stream is gone, and the stream's session with it."""


@dataclass(frozen=True, slots=True)
class Launch:
    """All that it takes to start one more worker of a pool."""

    name: str
    engine: str
    arguments: dict[str, Any]
    timeout_s: float
    load_timeout_s: float
    log: EventLog

    async def worker(self) -> ModelWorker:
        """Start a process and wait until it has loaded the engine; raises ConfigError."""
        worker = ModelWorker(self, await self._process())
        try:
            async with asyncio.timeout(self.load_timeout_s):
                await worker.load()
        except TimeoutError:
            await to_the_end(worker.end(0))
            problem = f"its worker process did not load within {format_figure(self.load_timeout_s)} s"
            raise ConfigError(self.name, problem, "use a smaller model or a faster machine") from None
        except BaseException:
            await to_the_end(worker.end(0))  # another one may have failed too, and has this one cancelled
            raise
        return worker

    async def _process(self) -> asyncio.subprocess.Process:
        # A child finds the modules that this process finds, and nothing that only lies in its working directory.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        try:
            return await start_program(
                *(sys.executable, "-P", "-m", CHILD),
                env={**os.environ, "PYTHONPATH": path},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # native libraries write there what was said
            )
        except OSError as error:
            problem = f"cannot start a worker process: {error.strerror}"
            raise ConfigError(self.name, problem, "raise the limits of processes, memory or open files") from None


class ModelWorker:
    """One process; it lives once, a restart makes another."""

    def __init__(self, launch: Launch, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._launch = launch
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, tuple[str, asyncio.Future[Answer]]] = {}
        self._streams: set[int] = set()
        self._calls = 0
        self._started = 0
        self._progress_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._problem = ""
        self._on_lost: Callable[[ModelWorker], None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self.has_served = False

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def business(self) -> tuple[int, int]:
        """Streams and calls under way, to compare workers by."""
        return len(self._streams), len(self._pending)

    async def load(self) -> None:
        """Wait until the engine is loaded, then listen; raises ConfigError."""
        launch = self._launch
        self._write(LoadModel(launch.engine, launch.arguments, launch.load_timeout_s, launch.timeout_s))
        try:
            reply = await self._read()
        except (asyncio.IncompleteReadError, ConnectionError):
            problem = f"its worker process {_ending(await self._reap(EXIT_S))} before it was ready"
            raise ConfigError(launch.name, problem, TRY_BY_HAND) from None
        except WireError as error:
            raise ConfigError(launch.name, f"its worker process wrote {error}", TRY_BY_HAND) from None
        match reply:
            case Ready():
                self._listener = asyncio.create_task(self._listen())
            case Refused(setting, problem, mend):
                raise ConfigError(setting or launch.name, problem, mend)
            case _:
                raise ConfigError(launch.name, "its worker process answered before it was asked", TRY_BY_HAND)

    def add_stream(self) -> int:
        """Return a number for one more stream."""
        self._started += 1
        self._streams.add(self._started)
        return self._started

    def remove_stream(self, stream: int) -> None:
        """Have the process forget a stream."""
        self._streams.discard(stream)
        self._write(Close(stream))

    def send(self, stream: int, op: str | None, payload: bytes) -> asyncio.Future[Answer]:
        """Send a call, or without `op` begin the stream; the future never raises, its result may be an error."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self._problem:
            future.set_result(self._lost())
            return future
        self._calls += 1
        try:
            self._write(Start(self._calls, stream) if op is None else Call(self._calls, stream, op, payload))
        except WireError as error:
            future.set_result(StageError(self._launch.name, f"{error} is too long"))
            return future
        if not self._pending:
            self._progress_s = self._loop.time()
        self._pending[self._calls] = (op or "start", future)
        self._check()
        return future

    def _check(self) -> None:
        """Kill the process if the call that it works on takes too long; else look again when that may be so."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending:
            return
        # Calls are served one by one, so the oldest has been worked on since the last answer, and no longer.
        limit_s = self._progress_s + self._launch.timeout_s
        if self._loop.time() >= limit_s:
            op = next(iter(self._pending.values()))[0]
            self._kill(f"{op} took longer than {self._launch.timeout_s * 1000:.0f} ms")
        else:
            self._timer = self._loop.call_at(limit_s, self._check)

    def on_lost(self, callback: Callable[[ModelWorker], None]) -> None:
        """Call back as soon as the worker can serve no more, at once if that is so already."""
        self._on_lost = callback
        if self._problem:
            callback(self)

    async def gone(self) -> str:
        """Wait until the process has ended, whoever ended it; returns why."""
        assert self._listener is not None
        await asyncio.wait({self._listener})
        return self._problem

    async def end(self, grace_s: float) -> None:
        """Let the process finish what it does, but no longer than the grace; calls under way fail."""
        self._fail("closed")
        self._stdin.close()
        await self._reap(grace_s)
        if self._listener is not None:
            await asyncio.wait({self._listener})

    async def _listen(self) -> None:
        try:
            while True:
                self._settle(await self._read())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except WireError as error:
            self._kill(f"its worker process wrote {error}")
        self._fail(f"its worker process {_ending(await self._reap(EXIT_S))}")
        self._stdin.close()

    def _settle(self, reply: Reply) -> None:
        if not isinstance(reply, Done | Failed) or reply.call not in self._pending:
            raise WireError("an answer that nobody asked for")
        self._progress_s = self._loop.time()
        self.has_served = True
        op, future = self._pending.pop(reply.call)
        answer: Answer
        if isinstance(reply, Done):
            answer = reply.payload
        else:
            answer = StageError(self._launch.name, reply.problem)
            self._launch.log.warning(
                "voice.call_failed", stage=self._launch.name, op=op, problem=reply.problem, place=reply.place
            )
        if not future.done():
            future.set_result(answer)

    def _kill(self, problem: str) -> None:
        self._fail(problem)
        self._process_kill()

    async def _reap(self, grace_s: float) -> int:
        """Wait until the process has ended, and end it after the grace; returns its exit code."""
        # To signal a process that has just ended would take its exit code away from the loop.
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self._process.wait(), grace_s)
        self._process_kill()
        return await self._process.wait()

    def _process_kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _fail(self, problem: str) -> None:
        """Fail what is pending and, later, what is sent; the first problem is the true one."""
        if not self._problem:
            self._problem = problem
            if self._on_lost is not None:
                self._on_lost(self)
        pending, self._pending = self._pending, {}
        self._check()
        for _, future in pending.values():
            if not future.done():
                future.set_result(self._lost())

    def _lost(self) -> WorkerLostError:
        return WorkerLostError(self._launch.name, self._problem)

    def _write(self, message: Request) -> None:
        # Without waiting: a stream has one call under way, so what may pile up here is bounded by the streams.
        if not self._stdin.is_closing():
            self._stdin.write(encode(message))

    async def _read(self) -> Reply:
        length = body_length(await self._stdout.readexactly(LENGTH_BYTES))
        return decode_reply(await self._stdout.readexactly(length))


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"

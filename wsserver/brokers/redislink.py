"""One of the two connections to Redis, kept up: it dials, introduces itself, and comes back after a loss."""

from __future__ import annotations

import asyncio
import random
import re
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hiredis

from wscore.text import system_words
from wsserver.brokers.redistarget import RedisTarget
from wsserver.brokers.rediswire import RedisWire
from wsserver.lookup import look_up
from wsserver.telemetry.logs import EventLog

DIAL_TIMEOUT_S: Final = 3.0
FIRST_DELAY_S: Final = 0.05
LONGEST_DELAY_S: Final = 2.0
STEADY_S: Final = 1.0  # one that lived for less is dialled as if it had failed: Redis takes it, and refuses all else
_RUN_ID: Final = re.compile(rb"^run_id:([0-9a-f]+)\r?$", re.MULTILINE)
_ROLE: Final = re.compile(rb"^role:(\w+)\r?$", re.MULTILINE)
# What a Redis answers whom it does not let in, or not do what is done here; the last two are those of old ones.
REFUSALS: Final = ("WRONGPASS", "NOAUTH", "NOPERM", "ERR AUTH", "ERR Client sent AUTH", "ERR invalid password")


class RefusedError(ConnectionError):
    """A Redis is reached, and does not let us in."""


class RedisLink:
    """A connection that is there, or will be again.

    `on_up` is called with the server's run id once commands may be sent, `on_reply` with each reply after that,
    `on_down` when it is lost, `on_refused` with what Redis says each time that it does not let us in. `scripts` are
    loaded first. Whether it `gathers` replies is said in `RedisWire`.
    """

    def __init__(
        self,
        name: str,
        target: RedisTarget,
        scripts: tuple[bytes, ...],
        *,
        on_up: Callable[[str], None],
        on_reply: Callable[[Any], None],
        on_down: Callable[[], None],
        on_refused: Callable[[str], None],
        gathers: bool = False,
        random: Callable[[], float] = random.random,
        log: EventLog,
    ) -> None:
        self._name = name
        self._target = target
        self._scripts = scripts
        self._on_up = on_up
        self._on_reply = on_reply
        self._on_down = on_down
        self._on_refused = on_refused
        self._gathers = gathers
        self._random = random
        self._log = log
        self._wire: RedisWire | None = None
        self._lost = asyncio.Event()
        self._greetings: deque[asyncio.Future[Any]] = deque()
        self._task: asyncio.Task[None] | None = None
        self.is_up = False
        self.problem = ""  # why the last try failed

    def start(self) -> None:
        """Dial, and go on until `stop`."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        if self._wire is not None:
            self._wire.abort()

    def call(self, *parts: bytes | str | float) -> None:
        """Send a command; one that is sent while the link is down is dropped."""
        if self.is_up and self._wire is not None:
            self._wire.call(*parts)

    def hold(self) -> None:
        """Have calls wait for `release`."""
        if self._wire is not None:
            self._wire.hold()

    def release(self) -> None:
        """Write what was called since `hold`."""
        if self._wire is not None:
            self._wire.release()

    @property
    def unsent_bytes(self) -> int:
        """What Redis has not taken yet."""
        return 0 if self._wire is None else self._wire.unsent_bytes

    def give_up(self, why: str) -> None:
        """Drop this connection, and dial anew."""
        if self.is_up and self._wire is not None:
            self._log.warning("broker.dropped", link=self._name, target=str(self._target), problem=why)
            self._wire.abort()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            try:
                run_id = await self._dial()
            except (TimeoutError, OSError, hiredis.HiredisError) as error:
                if not self.problem:
                    self._log.warning(
                        "broker.unreachable", link=self._name, target=str(self._target), problem=_reason(error)
                    )
                self.problem = _reason(error)
                if self._wire is not None:
                    self._wire.abort()
                if isinstance(error, RefusedError):
                    self._on_refused(self.problem)
            else:
                self.problem = ""
                self.is_up = True
                if self._wire is not None:
                    self._wire.on_reply = self._on_reply
                self._log.info("broker.connected", link=self._name, target=str(self._target))
                up_s = loop.time()
                self._on_up(run_id)
                await self._lost.wait()
                if loop.time() - up_s >= STEADY_S:
                    attempt = 0
                    continue
            delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**attempt)
            attempt = min(attempt + 1, 10)
            await asyncio.sleep(delay_s * (0.5 + self._random() / 2))

    async def _dial(self) -> str:
        """Connect and introduce ourselves; returns the server's run id."""
        self._lost.clear()
        target = self._target
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            if target.path:
                _, wire = await loop.create_unix_connection(self._new_wire, target.path)
            else:
                host, port = await target.address()
                await look_up(host, port)
                server_name = host if target.tls else None
                _, wire = await loop.create_connection(
                    self._new_wire, host, port, ssl=target.tls, server_hostname=server_name
                )
            self._wire = wire
            if target.password:
                user = (target.username,) if target.username else ()
                await self._ask("AUTH", *user, target.password)
            await self._ask("CLIENT", "SETNAME", f"wsctl-{self._name}")
            if target.database:
                await self._ask("SELECT", target.database)
            info = await self._ask("INFO")
            if not isinstance(info, bytes):
                raise ConnectionError("it does not answer as a Redis does")
            role, run_id = _ROLE.search(info), _RUN_ID.search(info)
            if run_id is None:
                raise ConnectionError("it does not say its run_id")
            if role is None or role[1] != b"master":
                raise ConnectionError("it is a replica, which cannot be written to")
            for script in self._scripts:
                await self._ask("SCRIPT", "LOAD", script)
        if self._lost.is_set():
            raise ConnectionError("it hung up")
        return run_id[1].decode()

    def _new_wire(self) -> RedisWire:
        return RedisWire(self._greeted, self._ended, gathers=self._gathers)

    async def _ask(self, *parts: bytes | str | int) -> Any:
        assert self._wire is not None
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._greetings.append(future)
        self._wire.call(*parts)
        return await future

    def _greeted(self, reply: Any) -> None:
        if self._greetings:
            future = self._greetings.popleft()
            if future.done():
                return
            if isinstance(reply, Exception):
                problem = str(reply)
                kind = RefusedError if problem.startswith(REFUSALS) else ConnectionError
                future.set_exception(kind(problem.rstrip(".")))
            else:
                future.set_result(reply)

    def _ended(self, error: Exception | None) -> None:
        greetings, self._greetings = self._greetings, deque()
        for future in greetings:
            if not future.done():
                future.set_exception(ConnectionError(_reason(error) if error else "it hung up"))
                future.exception()  # nobody may wait for it any more
        if self.is_up:
            self.is_up = False
            problem = _reason(error) if error else "it hung up"
            self._log.warning("broker.lost", link=self._name, target=str(self._target), problem=problem)
            self._on_down()
        self._lost.set()


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return system_words(error)
    return "no answer" if isinstance(error, TimeoutError) else str(error) or type(error).__name__

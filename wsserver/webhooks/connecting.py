"""Asks a backend over HTTP who may connect: not too much at once, and nobody comes in about whom it did not decide."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec

from wscore.disconnects import HOOK_FAILED, DisconnectError
from wsserver.sdk.connecting import ConnectRequest
from wsserver.sdk.errors import AppError, AppErrorCode
from wsserver.telemetry.clock import Clock
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import BackendDecision, Metrics
from wsserver.webhooks.decision import BadDecisionError, decide
from wsserver.webhooks.exchange import PostError
from wsserver.webhooks.posting import Poster
from wsserver.webhooks.settings import (
    MAX_ASKED,
    MAX_ASKED_OF_ADDRESS,
    MAX_WAITING,
    MAX_WAITING_OF_ADDRESS,
    ConnectingSettings,
)
from wsserver.webhooks.turns import QuestionTurns

MAX_WAITING_BYTES: Final = 16 << 20  # of what it is to be asked, all together
TELL_EVERY_S: Final = 10.0
LEFT_S: Final = 1.0  # the least for which a question counts as before the backend once its client has left
_FADES: Final = 0.9  # what is left of the time of the slowest answer with each later one
_CROWD: Final = "Too many wait for the server to decide; try again"
_FROM_ADDRESS: Final = "Too many from your address wait for the server to decide; try again"

_encode: Final = msgspec.json.Encoder().encode


class _Asked(msgspec.Struct, rename="camel", omit_defaults=True):
    server: str
    path: str
    claims: Mapping[str, Any]
    query: Mapping[str, str]
    user: str | None = None
    is_guest: bool = False
    address: str | None = None
    subprotocols: list[str] = []
    cookie: str | None = None
    origin: str | None = None
    user_agent: str | None = None


class ConnectingBackend:
    """Asks one backend; `process` is what the others call this one, `errors` are the codes that the app has declared.

    `timeout_s` is for what no client waits for; `waiting` and `size` are what is on its way or waits for that. The turn
    of a client that has left ends as late as if it had stayed: a backend may not notice that nobody waits any more.
    """

    __slots__ = (
        "_clock",
        "_count",
        "_errors",
        "_log",
        "_metrics",
        "_poster",
        "_problem",
        "_process",
        "_run_id",
        "_slowest_s",
        "_telling",
        "_turns",
        "_untold",
        "size",
        "waiting",
    )

    def __init__(
        self,
        settings: ConnectingSettings,
        process: str,
        errors: Mapping[str, AppErrorCode],
        clock: Clock,
        metrics: Metrics,
        log: EventLog,
        *,
        timeout_s: float,
    ) -> None:
        self._poster = Poster(settings.target, settings.keys, clock.now_ms, timeout_s=timeout_s)
        self._process = process
        self._errors = errors
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._turns = QuestionTurns(MAX_ASKED, MAX_ASKED_OF_ADDRESS)
        self._slowest_s = timeout_s  # of the last answers, about
        self._run_id = secrets.token_hex(8)
        self._count = 0
        self._untold = 0
        self._problem = ""
        self._telling: asyncio.TimerHandle | None = None
        self.waiting = 0
        self.size = 0

    async def ask(self, asked: ConnectRequest, until_s: float) -> None:
        """Have the backend decide about a client until a moment on the clock of the loop.

        Raises AppError to refuse it, and DisconnectError if there is no decision.
        """
        try:
            body = self._body_of(asked)
        except (UnicodeEncodeError, ValueError, TypeError, OverflowError, RecursionError):
            raise self._undecided(BackendDecision.UNASKABLE, "a claim of a token cannot be written as JSON") from None
        if self.waiting >= MAX_WAITING or self.size + len(body) > MAX_WAITING_BYTES:
            raise self._undecided(BackendDecision.CROWD, "more clients wait for it than may", _CROWD)
        address = asked.address
        if self._turns.of_address(address) >= MAX_WAITING_OF_ADDRESS:
            problem = "more clients of one address wait for it than may"
            raise self._undecided(BackendDecision.ADDRESS, problem, _FROM_ADDRESS)
        loop = asyncio.get_running_loop()
        asked_s: float | None = None
        self.waiting += 1
        self.size += len(body)
        began_s = self._clock.now_s()
        try:
            async with asyncio.timeout_at(until_s):
                await self._turns.enter(address)
                asked_s = loop.time()
                answer = await self._poster.post(self._next_id(), body)
        except TimeoutError:
            self._note(asked_s)
            raise self._undecided(BackendDecision.TIMEOUT, "it did not answer in time") from None
        except PostError as error:
            raise self._undecided(BackendDecision.NO_ANSWER, str(error)) from None
        except asyncio.CancelledError:
            if asked_s is not None:
                leaves_s = min(until_s, asked_s + max(self._slowest_s, LEFT_S))
                loop.call_at(leaves_s, self._turns.leave, address)
                asked_s = None
            self._metrics.backend_decisions[BackendDecision.CLIENT_GONE].value += 1
            raise
        finally:
            self.waiting -= 1
            self.size -= len(body)
            if asked_s is not None:
                self._turns.leave(address)
        self._note(asked_s)
        self._metrics.backend_time.observe(self._clock.now_s() - began_s)
        if answer.status != HTTPStatus.OK:
            raise self._undecided(BackendDecision.BAD_ANSWER, f"it answered {answer.status}")
        try:
            decide(answer.body, asked, self._errors)
        except BadDecisionError as error:
            raise self._undecided(BackendDecision.BAD_ANSWER, str(error)) from None
        except AppError:
            self._metrics.backend_decisions[BackendDecision.REFUSED].value += 1
            raise
        self._metrics.backend_decisions[BackendDecision.ADMITTED].value += 1

    @property
    def asked(self) -> int:
        """How many questions the backend has before it, about: it may be done with some whose clients have left."""
        return self._turns.taken

    def close(self) -> None:
        """Hang up, and tell what is untold; nobody is asked about any more."""
        self._tell()
        if self._telling is not None:
            self._telling.cancel()
        self._poster.close()

    def _note(self, asked_s: float | None) -> None:
        """Note how long a question took that was asked at that time, if it was."""
        if asked_s is not None:
            took_s = asyncio.get_running_loop().time() - asked_s
            self._slowest_s = max(took_s, self._slowest_s * _FADES)

    def _body_of(self, asked: ConnectRequest) -> bytes:
        principal, headers = asked.principal, asked.headers
        time = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).isoformat(timespec="milliseconds")
        data = _Asked(
            self._process,
            asked.path,
            asked.claims,
            asked.query,
            None if principal is None else principal.user_id,
            principal is not None and principal.is_guest,
            asked.address,
            [item.strip() for item in headers.get("sec-websocket-protocol", "").split(",") if item.strip()],
            _text(headers.get("cookie")),
            _text(headers.get("origin")),
            _text(headers.get("user-agent")),
        )
        return _encode({"type": "connecting", "timestamp": time.replace("+00:00", "Z"), "data": data})

    def _next_id(self) -> str:
        self._count += 1
        return f"ask_{self._run_id}_{self._count}"

    def _undecided(self, outcome: BackendDecision, problem: str, reason: str = "") -> DisconnectError:
        """Count it, and return what the client is told; the log has it at once, then every ten seconds at most."""
        self._metrics.backend_decisions[outcome].value += 1
        self._untold += 1
        self._problem = problem
        if self._telling is None:
            self._tell()
        return DisconnectError(HOOK_FAILED, reason, f"backend-{outcome}")

    def _tell(self) -> None:
        if self._untold:
            self._log.warning("connecting.undecided", problem=self._problem, clients=self._untold)
            self._untold = 0
            self._telling = asyncio.get_running_loop().call_later(TELL_EVERY_S, self._tell)
        else:
            self._telling = None


def _text(header: str | None) -> str | None:
    """Return a header's value as UTF-8 if its bytes are that."""
    if header is None or header.isascii():
        return header
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header

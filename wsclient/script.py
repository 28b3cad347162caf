"""The scriptable twin of the terminal client: lines in, JSON lines out, and a verdict at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec.structs import replace

from wsclient.client import Client
from wsclient.errors import (
    ConnectionClosedError,
    ConnectionFailedError,
    RoomRefusedError,
    RoomUnansweredError,
    describe_close,
)
from wsclient.events import Closed, ControlFrame, Event, GroupEvent, Opened, Received, Reconnecting, RoomRefused, Sent
from wsclient.filters import EVERYTHING, MessageFilter
from wsclient.goals import Goal, Progress, UnmetError
from wsclient.handshake import Handshake
from wsclient.happenings import Happening, Happenings, happening_of
from wsclient.piping import Sending, SendOptions
from wsclient.recording import Record, Recorder, line_of, record_of
from wsclient.templates import TemplateContext
from wscore.codes import CloseCode
from wscore.envelope import MessageProtocol
from wscore.errors import ConfigError, WsctlError
from wscore.foreign import Frame, Kind, ProtocolName, looks_like
from wscore.units import format_figure, format_size
from wscore.wallclock import now_ms

# While so much waits for whoever reads our output nothing more is sent, so that the server's echoes cease.
MAX_WAITING_BYTES: Final = 64 << 10
# What others say goes on coming. Beyond this it is left to the server, which closes with 4003 in the end.
MAX_UNREAD_BYTES: Final = 16 << 20
_CONNECTED: Final[dict[str, str]] = {
    ProtocolName.AUTO: "connected; the server did not greet as wsctl's do, so lines go as they are",
    ProtocolName.RAW: "connected; lines go as they are",
}
JOIN_S: Final = 10.0  # how long the end waits for a room that says nothing
SETTLE_S: Final = 2.0  # for the proof of what was sent just before the end


class Output(Protocol):
    """Where lines of data go; a reader that is slow, or gone, is known here."""

    @property
    def waiting(self) -> int:
        """How many bytes wait for the reader."""

    def put(self, line: str) -> None:
        """Write a line when its reader is ready for it."""

    async def below(self, size: int) -> None:
        """Wait until at most `size` bytes wait, or nobody reads any more; raises OSError if they cannot be written."""

    async def gone(self) -> None:
        """Wait until nobody reads any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptOptions:
    """What to say, what to wait for, and what to show; times in seconds.

    The script is done when the goal is reached and the first lines of `sends` are out. Without a goal the end of the
    input ends it, after `linger_s` without a message; if nothing was said it listens on, unless `stop_at_eof`. `shows`
    chooses what is printed, `raw` prints frames as they came; `verbose` tells each handshake.
    """

    sends: SendOptions
    goal: Goal
    shows: MessageFilter = EVERYTHING
    timeout_s: float | None = None
    linger_s: float = 0.5
    stop_at_eof: bool = False
    raw: bool = False
    show_pings: bool = False
    verbose: bool = False


class Script:
    """Runs a client by lines.

    `out` gets each line of data, `note` each line of narration; `lines` is standard input, or None when there
    is none to read. `recorder` gets every message in both directions, whatever is shown.
    """

    def __init__(
        self,
        client: Client,
        options: ScriptOptions,
        protocol: MessageProtocol,
        templates: TemplateContext,
        *,
        lines: AsyncIterator[Frame] | None,
        out: Output,
        note: Callable[[str], None],
        recorder: Recorder | None = None,
    ) -> None:
        self._client = client
        self._options = options
        self._protocol = protocol
        self._templates = templates
        self._recorder = recorder
        self._happenings = Happenings()
        self._lines = lines
        self._out = out
        self._note = note
        self._progress = Progress(options.goal)
        self._sending = Sending(
            options.sends,
            protocol,
            templates,
            send=client.send_raw,
            compose=client.compose,
            ready=self._until_read,
            note=note,
            on_failed=self._fail,
        )
        self._sender = self._sending.sender
        self._all_sent = self._has_hinted = self._was_greeted = self._is_left = False
        self._failure: str | None = None
        self._refusal: RoomRefusedError | None = None
        self._decided = asyncio.Event()
        self._message = asyncio.Event()
        client.watch(self._on_event)

    async def run(self) -> None:
        """Run to the end, or until nobody reads what is printed.

        Raises UnmetError when the goal was not reached, LinesLostError when a line did not go through, and what the
        client raises when its connection fails.
        """
        loop = asyncio.get_running_loop()
        timeout_s = self._options.timeout_s
        until_s = None if timeout_s is None else loop.time() + timeout_s
        try:
            async with asyncio.timeout_at(until_s) as limit:
                await self._client.connect()
        except TimeoutError:
            if not limit.expired():
                raise
            problem = f"no connection within {format_figure(timeout_s or 0)} s"
            raise ConnectionFailedError(self._client.shown_url, problem) from None
        end: WsctlError | None = None
        try:
            await self._converse(None if until_s is None else until_s - loop.time())
        except WsctlError as error:
            end = error
        finally:
            unanswered = self._client.unanswered_rooms
            await self._client.close()
            self._happened(self._happenings.ended(now_ms()))
        self._sending.give_up()
        end = end or self._refusal or self._room_error(unanswered)
        lost = self._sending.losses.error
        is_told = self._failure is not None or isinstance(end, ConfigError)
        if end is None:
            end = lost
        elif lost is not None and not is_told and (lost.count > 1 or not self._sending.told):
            self._note(str(lost))
        if end is not None:
            raise end

    async def _converse(self, timeout_s: float | None) -> None:
        """Listen and talk until the goal is reached, or nothing is left to hear or to say."""
        parts = (self._listen, self._talk, self._decided.wait, self._sender.run, self._out.gone)
        tasks = [asyncio.create_task(_result_of(part)) for part in parts]
        listening, talking, deciding, _, leaving = tasks
        try:
            ended, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not listening.done():
                for task in ended:
                    task.result()
                talking.cancel()
                if deciding.done() or leaving.done():
                    self._sender.drop()
                else:
                    self._sender.stop()
                tasks.append(asyncio.create_task(self._sender.settled()))
                await asyncio.wait((listening, tasks[-1]), timeout=SETTLE_S, return_when=asyncio.FIRST_COMPLETED)
            self._is_left = leaving.done()
            if not self._is_left:
                self._judge(listening if listening.done() else None, is_late=not ended)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _is_reached(self) -> bool:
        return self._all_sent and self._progress.is_reached and not self._client.is_joining

    def _room_error(self, unanswered: Sequence[str]) -> WsctlError | None:
        """Why a room was not joined that was asked for; who reads no more did not wait for that."""
        if not self._was_greeted and self._client.rooms:
            return ConfigError("--room", "no room was joined: the server did not greet as one of wsctl")
        return RoomUnansweredError(unanswered) if unanswered and not self._is_left else None

    def _judge(self, listening: asyncio.Task[object] | None, *, is_late: bool) -> None:
        """Say why it ended before its goal; without a goal only a connection that ended abnormally is a failure."""
        error = None if listening is None else listening.exception()
        if self._progress.is_reached or self._refusal is not None:
            return
        if self._options.goal and (error is None or isinstance(error, ConnectionClosedError)):
            if self._failure is not None:
                why = self._failure
            elif is_late:
                why = f"{format_figure(self._options.timeout_s or 0)} s are over"
            else:
                why = str(error or "the connection ended")
            raise UnmetError(self._progress.missing, why, "" if self._failure else self._progress.came) from None
        if error is not None:
            raise error

    async def _listen(self) -> None:
        async for _ in self._client:
            if self._out.waiting > MAX_UNREAD_BYTES:
                self._note(
                    f"standard output is not read: {format_size(MAX_UNREAD_BYTES)} wait, so the server has to wait"
                )
                await self._out.below(MAX_UNREAD_BYTES // 2)

    async def _until_read(self) -> None:
        await self._out.below(MAX_WAITING_BYTES)

    async def _talk(self) -> None:
        """Send everything there is to send; returns when the script may end of itself."""
        options = self._options
        said = await self._sending.say_first()
        self._all_sent = True
        self._check()
        if self._lines is not None:
            said |= await self._sending.say(self._lines)
        if options.goal or options.timeout_s is not None or not (said or options.stop_at_eof):
            await asyncio.Event().wait()  # listen until the goal, the time-out or an interrupt
        await self._linger()

    async def _linger(self) -> None:
        """Wait for silence; what an app refuses late is sent again meanwhile, and a room may refuse us late."""
        with suppress(TimeoutError):  # `run` tells of a room that never answered
            async with asyncio.timeout(JOIN_S):
                while self._client.is_joining:
                    self._message.clear()
                    await self._message.wait()
        while True:
            self._message.clear()
            try:
                async with asyncio.timeout(self._options.linger_s):
                    await self._message.wait()
            except TimeoutError:
                if self._sender.is_settled:
                    return
                await self._sender.settled()

    def _fail(self, why: str) -> None:
        """Note why the goal need not be waited for any longer."""
        if self._options.goal and self._failure is None:
            self._failure = why
            self._decided.set()

    def _on_event(self, event: Event) -> None:
        self._happened(self._happenings.of(event, now_ms()))
        match event:
            case Opened(session, protocol):
                if session is None:
                    self._note(_CONNECTED.get(protocol, f"connected; {protocol} is spoken"))
                else:
                    self._was_greeted = True
                    self._note(f"connected as {session.user_id}, session {session.session_id}")
                self._sending.opened(session)
            case Handshake() if self._options.verbose:
                for mark, line in event.lines():
                    self._note(f"{mark} {line}".rstrip())
            case ControlFrame() if self._options.verbose:
                self._note(f"* {event}")
            case Received(kind=kind):
                self._take(record_of(event), kind)
            case Sent(text):
                if not self._sender.is_own(text):
                    self._record(record_of(event))
            case Closed(code, reason, is_ours):
                self._sender.closed(code)
                if code == CloseCode.NORMAL:  # any other end is told by Reconnecting or by the error of `run`
                    self._note(f"closed {describe_close(code, reason, is_ours=is_ours)}")
            case RoomRefused(room, code, reason):  # the error of `run` tells it
                self._refusal = RoomRefusedError(room or "", code, reason)
                self._decided.set()
            case GroupEvent():
                self._note(str(happening_of(event, now_ms())))
            case Reconnecting(attempt, delay_ms, problem):
                self._note(f"{problem}; reconnecting in {delay_ms / 1000:.1f} s (try {attempt})")

    def _happened(self, happenings: Iterable[Happening]) -> None:
        for happening in happenings:
            if self._recorder is not None:
                self._recorder.write_happening(happening)
                self._recorder.flush()

    def _record(self, record: Record) -> None:
        if self._recorder is not None:
            self._recorder.write(record)
            self._recorder.flush()  # a script may be killed at any time

    def _take(self, record: Record, kind: Kind) -> None:
        envelope = record.envelope
        is_wanted = self._options.goal.wants(record)
        is_ours = self._client.session is not None
        if envelope is not None and is_ours and self._sender.take(envelope, is_wanted=is_wanted):
            return
        self._record(record)
        self._templates.saw(envelope)
        self._sending.saw()
        if self._progress.is_reached:
            self._check()  # the server may have let us into the last room
            return
        if kind is Kind.HEARTBEAT and not self._options.show_pings:
            return
        self._hint(record)
        self._message.set()
        if not self._options.shows.matches(record):
            return
        if self._options.raw:
            binary = record.binary
            self._out.put(record.text if binary is None else self._options.sends.binary.write(binary))
        elif envelope is None and is_ours:
            self._note(f"not an envelope: {record.text[:200]}")
            return
        elif envelope is None or not is_ours:
            self._out.put(line_of(record))
        else:
            shown = self._sending.as_typed(record.text, envelope.id)
            self._out.put(line_of(replace(record, text=shown)))
        self._progress.printed(record)
        self._check()

    def _hint(self, record: Record) -> None:
        """Name the protocol that a server speaks which nobody named."""
        if self._client.adapter.name == ProtocolName.AUTO and not self._has_hinted:
            name = looks_like(record.frame)
            if name is not None:
                self._has_hinted = True
                self._note(f"this looks like {name}; frames go as they are, unless --protocol {name} is given")

    def _check(self) -> None:
        if self._is_reached:
            self._decided.set()


async def _result_of(part: Callable[[], Awaitable[object]]) -> object:
    return await part()

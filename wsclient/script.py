"""The scriptable twin of the terminal client: lines in, JSON lines out, and a verdict at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from wsclient.client import Client
from wsclient.dialling import read_envelope
from wsclient.errors import ConnectionClosedError, ConnectionFailedError, NotConnectedError, describe_close
from wsclient.events import Closed, Event, Opened, Received, Reconnecting, Sent
from wsclient.filters import EVERYTHING, MessageFilter
from wsclient.outgoing import outgoing_frame
from wsclient.recording import Record, Recorder, line_of
from wsclient.templates import TemplateContext, TemplateError, expand
from wscore.codes import CloseCode
from wscore.envelope import MessageProtocol
from wscore.errors import WsctlError
from wscore.units import format_figure


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptOptions:
    """What to send and what to wait for; times in seconds.

    Lines of `sends` go first, then standard input. The script is done when `sends` are out, every type in
    `expect` has been printed, a message that `until` matches was, and `count` lines were. Without such a goal the
    end of the input ends it, after `linger_s` without a message; if nothing was said it listens on, unless
    `stop_at_eof`. `shows` chooses what is printed, `raw` prints frames as they came, `as_is` sends lines as they
    are; variables in lines are filled in if `templates`.
    """

    sends: Sequence[str] = ()
    bare_type: str = "message"
    expect: frozenset[str] = frozenset()
    until: MessageFilter | None = None
    count: int | None = None
    shows: MessageFilter = EVERYTHING
    templates: bool = True
    timeout_s: float | None = None
    linger_s: float = 0.5
    stop_at_eof: bool = False
    raw: bool = False
    as_is: bool = False
    show_pings: bool = False

    @property
    def has_goal(self) -> bool:
        """Whether something is waited for."""
        return bool(self.expect) or self.until is not None or self.count is not None


class UnmetError(WsctlError):
    """The script ended before everything it waited for had come; `missing` says what did not."""

    def __init__(self, missing: str, why: str) -> None:
        super().__init__(missing, why)
        self.missing = missing
        self.why = why

    def __str__(self) -> str:
        return f"{self.missing} did not come: {self.why}"


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
        lines: AsyncIterator[str] | None,
        out: Callable[[str], None],
        note: Callable[[str], None],
        recorder: Recorder | None = None,
    ) -> None:
        self._client = client
        self._options = options
        self._protocol = protocol
        self._templates = templates
        self._recorder = recorder
        self._lines = lines
        self._out = out
        self._note = note
        self._missing = set(options.expect)
        self._until_met = options.until is None
        self._printed = 0
        self._all_sent = asyncio.Event()
        self._reached = asyncio.Event()
        self._message = asyncio.Event()
        self._opened = asyncio.Event()
        self._was_open = False
        client.watch(self._on_event)

    async def run(self) -> None:
        """Run to the end.

        Raises UnmetError when the goal was not reached, and what the client raises when its connection fails.
        """
        timeout_s = self._options.timeout_s
        try:
            async with asyncio.timeout(timeout_s) as limit, self._client:
                await self._converse()
        except TimeoutError:
            if not limit.expired():
                raise
            if not self._was_open:
                raise ConnectionFailedError(
                    self._client.shown_url, f"no connection within {format_figure(timeout_s or 0)} s"
                ) from None
            if self._options.has_goal and not self._reached.is_set():
                raise UnmetError(self._what_is_missing(), f"{format_figure(timeout_s or 0)} s are over") from None

    async def _converse(self) -> None:
        """Listen and talk until the goal is reached, or nothing is left to hear or to say."""
        reaching, listening, talking = tasks = [
            asyncio.create_task(self._reach()),
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._talk()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if reaching.done():
                return
            if listening.done():
                self._judge(listening.exception())
            else:
                talking.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _judge(self, error: BaseException | None) -> None:
        """The connection ended: that is a failure unless it ended normally and nothing was waited for."""
        if self._options.has_goal and (error is None or isinstance(error, ConnectionClosedError)):
            raise UnmetError(self._what_is_missing(), str(error or "the connection ended")) from None
        if error is not None:
            raise error

    async def _reach(self) -> None:
        await self._all_sent.wait()
        await self._reached.wait()

    async def _listen(self) -> None:
        async for _ in self._client:
            pass

    async def _talk(self) -> None:
        """Send everything there is to send; returns when the script may end of itself."""
        said = bool(self._options.sends)
        for line in self._options.sends:
            await self._send(line)
        self._all_sent.set()
        if self._lines is not None:
            async for line in self._lines:
                if line:
                    try:
                        await self._send(line)
                    except TemplateError as error:  # one of --send ends the run, one that is typed does not
                        self._note(f"not sent: {error}")
                    said = True
        if self._options.has_goal or self._options.timeout_s is not None or not (said or self._options.stop_at_eof):
            await asyncio.Event().wait()  # listen until the goal, the time-out or an interrupt
        await self._linger()

    async def _linger(self) -> None:
        while True:
            self._message.clear()
            try:
                async with asyncio.timeout(self._options.linger_s):
                    await self._message.wait()
            except TimeoutError:
                return

    async def _send(self, line: str) -> None:
        text = expand(line, self._templates) if self._options.templates else line
        if not self._options.as_is:
            text = outgoing_frame(text, self._options.bare_type, self._protocol)
        while True:
            await self._opened.wait()
            try:
                return await self._client.send_raw(text)
            except NotConnectedError:
                # Lost, and the client is about to notice: no line is skipped, it waits for the next connection.
                await asyncio.sleep(0)

    def _on_event(self, event: Event) -> None:
        match event:
            case Opened(session):
                if session is None:
                    self._note("connected; the server did not greet with session_created")
                else:
                    self._note(f"connected as {session.user_id}, session {session.session_id}")
                self._was_open = True
                self._opened.set()
            case Received(text, envelope, at_ms):
                self._take(Record(at_ms, False, text, envelope))
            case Sent(text, at_ms):
                self._record(Record(at_ms, True, text, read_envelope(text)))
            case Closed(code, reason):
                self._opened.clear()
                if code == CloseCode.NORMAL:  # any other end is told by Reconnecting or by the error of `run`
                    self._note(f"closed {describe_close(code, reason)}")
            case Reconnecting(attempt, delay_ms, problem):
                self._note(f"{problem}; reconnecting in {delay_ms / 1000:.1f} s (try {attempt})")

    def _record(self, record: Record) -> None:
        if self._recorder is not None:
            self._recorder.write(record)
            self._recorder.flush()  # a script may be killed at any time

    def _take(self, record: Record) -> None:
        self._record(record)
        envelope = record.envelope
        self._templates.saw(envelope)
        if self._reached.is_set():
            return
        if envelope is not None and envelope.type == "ping" and not self._options.show_pings:
            return
        self._message.set()
        if not self._options.shows.matches(record):
            return
        if self._options.raw:
            self._out(record.text)
        elif envelope is None:
            self._note(f"not an envelope: {record.text[:200]}")
            return
        else:
            self._out(line_of(record))
        self._printed += 1
        if envelope is not None:
            self._missing.discard(envelope.type)
        if self._options.until is not None and self._options.until.matches(record):
            self._until_met = True
        all_met = self._until_met and not self._missing and self._printed >= (self._options.count or 0)
        if self._options.has_goal and all_met:
            self._reached.set()

    def _what_is_missing(self) -> str:
        if self._missing:
            return " and ".join(sorted(self._missing))
        if not self._until_met:
            return f"a message that matches {self._options.until}"
        return f"{self._options.count} messages ({self._printed} did)"

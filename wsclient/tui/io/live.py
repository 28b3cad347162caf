"""Between the client and the screen: runs the connection, keeps ring, health and recording up to date.

The screen starts it and asks it to send; it knows nothing of widgets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wsclient.errors import ConnectionFailedError, NotConnectedError, close_spec, describe_close
from wsclient.events import ClientState, Closed, ControlFrame, Event, GroupEvent, Opened, Received, Reconnecting, Sent
from wsclient.handshake import Handshake
from wsclient.happenings import Happening, Happenings, happening_of
from wsclient.recording import Record, Recorder, RecordingError, record_of
from wsclient.templates import TemplateContext
from wsclient.tui.model.health import Health
from wsclient.tui.model.ring import MessageRing
from wscore.envelope import Envelope
from wscore.errors import WsctlError
from wscore.foreign import Adapter, Frame, ProtocolName
from wscore.payloads import Limits, Timestamp

if TYPE_CHECKING:
    from wsclient.client import Client
    from wsclient.voice import Talk

PROBE_INTERVAL_S: Final = 5.0  # how often the round trip is measured
PROBE_TIMEOUT_S: Final = 10.0


class LiveConnection:
    """One target, connected as long as it lasts; `run` again begins anew."""

    def __init__(
        self,
        new_client: Callable[[], Client],
        ring: MessageRing,
        health: Health,
        templates: TemplateContext,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._new_client = new_client
        self._ring = ring
        self._health = health
        self._templates = templates
        self._now_ms = now_ms
        self._client: Client | None = None
        self._recorder: Recorder | None = None
        self._talk_hears: asyncio.Queue[Envelope | None] | None = None
        self._happenings = Happenings()
        self.recording_to: Path | None = None

    async def run(self) -> None:
        """Connect and stay until the connection ends for good; what ended it becomes a note.

        A run that began later takes its place: what still comes of this one changes nothing any more.
        """
        health = self._health
        client: Client | None = None
        self._leave(self._client)
        try:
            self._client = client = self._new_client()
            client.watch(partial(self._on_event, client))
            health.state, health.problem = "connecting", ""
            async with client:
                probing = asyncio.create_task(self._probe(client))
                try:
                    async for _ in client:
                        pass
                finally:
                    probing.cancel()
                    self._leave(client)
        except WsctlError as error:
            if self._client is client:
                health.problem = error.summary if isinstance(error, ConnectionFailedError) else str(error)
                self._note(health.problem)
        finally:
            self._leave(client)

    def _leave(self, client: Client | None) -> None:
        """Show that this client is no more, unless another one has taken its place."""
        if self._client is client:
            self._happened(self._happenings.ended(self._now_ms()))
            self._health.state, self._health.session, self._health.reconnect_at_ms = "closed", None, None
            self._client = None

    @property
    def adapter(self) -> Adapter | None:
        """What the server speaks, None while there is no connection."""
        return self._client.adapter if self._client is not None and self._client.state is ClientState.OPEN else None

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms in which we are, none while there is no connection to a wsctl server."""
        client = self._client
        return () if client is None or client.session is None else client.rooms

    @property
    def limits(self) -> Limits | None:
        """What the server takes, None while there is no connection to one that says so."""
        session = None if self._client is None else self._client.session
        return None if session is None else session.limits

    async def send(self, frame: Frame) -> None:
        """Send a frame; raises NotConnectedError."""
        if self._client is None:
            raise NotConnectedError
        await self._client.send_raw(frame)

    def compose(self, text: str, type: str) -> Frame:
        """Return the frame of a draft, as the protocol has it; raises NotConnectedError and InvalidMessageError."""
        if self._client is None:
            raise NotConnectedError
        return self._client.compose(text, type)

    async def ping(self) -> float:
        """Send a WebSocket ping and return its round trip in ms; raises NotConnectedError and NoReplyError."""
        if self._client is None:
            raise NotConnectedError
        return await self._client.ping(timeout_s=PROBE_TIMEOUT_S)

    def talk(self) -> Talk:
        """Return a conversation by voice over this connection, until `end_talk`; raises NotConnectedError."""
        from wsclient.voice import Talk

        if self._client is None:
            raise NotConnectedError
        heard = self._talk_hears = asyncio.Queue()

        async def receive() -> Envelope:
            envelope = await heard.get()
            if envelope is None:
                raise NotConnectedError
            return envelope

        return Talk(self._client, receive=receive)

    async def stop_talking(self) -> None:
        """Have the server forget what it heard of a turn, and stop its answer; raises NotConnectedError."""
        if self._client is None:
            raise NotConnectedError
        await self._client.send("audio_clear")
        await self._client.send("interrupt")

    def end_talk(self) -> None:
        """End the conversation."""
        self._talk_hears = None

    def record(self, path: Path) -> None:
        """Record everything from now on; raises RecordingError."""
        self._recorder, self.recording_to = Recorder(path), path

    def stop_recording(self) -> int:
        """End the recording; returns how many messages it has."""
        recorder, self._recorder, self.recording_to = self._recorder, None, None
        if recorder is None:
            return 0
        try:
            recorder.close()
        except RecordingError as error:
            self._note(f"the recording is not complete: {error}")
        return recorder.count

    def close(self) -> None:
        """Note that the connection ends, and end the recording."""
        self._leave(self._client)
        self.stop_recording()

    def flush(self) -> None:
        """Bring what was recorded to the disk."""
        if self._recorder is not None:
            self._guarded(self._recorder.flush)

    async def _probe(self, client: Client) -> None:
        while True:
            with suppress(WsctlError):  # lost or late: the connection's own events tell
                await self._measure(client)
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def _measure(self, client: Client) -> None:
        """Measure a round trip; no other server than ours knows what an envelope ping is."""
        if client.session is None:
            await client.ping(timeout_s=PROBE_TIMEOUT_S)
            return
        started_s = time.perf_counter()
        await client.request("ping", Timestamp(self._now_ms()), timeout_s=PROBE_TIMEOUT_S)
        self._health.round_trips_ms.append((time.perf_counter() - started_s) * 1000)

    def _on_event(self, client: Client, event: Event) -> None:
        if client is not self._client:
            return
        self._happened(self._happenings.of(event, self._now_ms()))
        health = self._health
        match event:
            case Handshake():
                health.take_handshake(event)
            case ControlFrame(at_ms=at_ms, round_trip_ms=round_trip_ms):
                self._ring.add_note(str(event), at_ms, is_control=True)
                if round_trip_ms is not None and client.session is None:
                    health.round_trips_ms.append(round_trip_ms)
            case Received(text, envelope):
                health.received.count(len(text))
                self._templates.saw(envelope)
                if self._talk_hears is not None and envelope is not None:
                    self._talk_hears.put_nowait(envelope)
                self._take(record_of(event))
            case Sent(text):
                health.sent.count(len(text))
                self._take(record_of(event))
            case Opened(session, protocol):
                health.state, health.session = "open", session
                health.problem, health.reconnect_at_ms = "", None
                spoken = f"{protocol} is spoken" if protocol != ProtocolName.AUTO else "what is typed goes as it is"
                who = f"connected; {spoken}" if session is None else f"connected as {session.user_id}"
                self._note(who if session is None else f"{who}, session {session.session_id}")
            case Closed(code, reason, is_ours):
                if self._talk_hears is not None:
                    self._talk_hears.put_nowait(None)
                spec = close_spec(code) if is_ours else None
                health.state, health.session = "closed", None
                health.problem = f"closed {describe_close(code, reason, is_ours=is_ours)}"
                self._note(health.problem if spec is None else f"{health.problem}. {spec.meaning} {spec.remedy}")
            case GroupEvent():
                self._note(str(happening_of(event, self._now_ms())))
            case Reconnecting(attempt, delay_ms, problem):
                health.state = "reconnecting"
                health.problem = problem
                health.reconnect_at_ms = self._now_ms() + delay_ms
                self._note(f"reconnecting in {delay_ms / 1000:.1f} s (try {attempt}): {problem}")

    def _happened(self, happenings: Iterable[Happening]) -> None:
        for happening in happenings:
            if (recorder := self._recorder) is not None:
                self._guarded(partial(recorder.write_happening, happening))

    def _take(self, record: Record) -> None:
        self._ring.add_record(record)
        if (recorder := self._recorder) is not None:
            self._guarded(partial(recorder.write, record))

    def _guarded(self, write: Callable[[], None]) -> None:
        """Write to the recording; a full disk ends it, and not the connection."""
        try:
            write()
        except RecordingError as error:
            recorder, self._recorder, self.recording_to = self._recorder, None, None
            self._note(f"the recording ended: {error}")
            if recorder is not None:
                with suppress(RecordingError):
                    recorder.close()

    def _note(self, text: str) -> None:
        self._ring.add_note(text, self._now_ms())

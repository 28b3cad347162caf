"""Callers who speak, listen to the answer, and speak again: the load of `voice`.

Each is a microphone that is always on: a chunk every 100 ms, speech or silence, due by the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from enum import Enum, auto
from typing import Annotated, Any, ClassVar, Final

import msgspec
from picows import WSTransport

from loadtest.generator.connections import TEXT, Inbound, LoadConnection, decode_envelope, fault_of, monotonic_ns
from loadtest.generator.dialing import Dialer
from loadtest.generator.messages import Part
from loadtest.generator.schedule import LATE_NS
from loadtest.generator.traffic import Traffic
from loadtest.ledger import NEVER
from loadtest.options import RAMP, count, milliseconds, ramp_s
from loadtest.scenarios.base import FileArgument, FileKind, Scenario, SearchRange
from loadtest.summary import Summary
from loadtest.wire import ASR, E2E, ENDPOINT, LATENCY, LLM, SERVICE, STALL, TTS, CallerSpeech, Plan
from wscore.audio import AudioFormat, Encoding
from wscore.envelope import decode_data
from wscore.errors import WsctlError
from wscore.exchange import CHUNK_MS, audio_chunks
from wscore.jsonvalues import NOT_JSON
from wscore.payloads import AudioChunk, ErrorData, ResponseDone, ResponseStarted, TurnMetrics

CHUNK_NS: Final = CHUNK_MS * 1_000_000
ANSWER_TIMEOUT_NS: Final = 20 * 10**9  # from the end of speech to the next audio of an answer
LEAST_STALL_NS: Final = 20 * 10**6
_FAILURES: Final = frozenset(("ASR_ERROR", "PROCESSING_ERROR"))
_STAGES: Final = {
    **{ENDPOINT: "endpoint_ms", ASR: "asr_ms", LLM: "llm_ttft_ms", TTS: "tts_ttfb_ms"},
    E2E: "e2e_ms",
}
_LATENCIES: Final = {
    ENDPOINT: "end of speech noticed",
    ASR: "recognizer",
    LLM: "responder",
    TTS: "synthesizer",
    E2E: "server's part",
    STALL: "stalls",
}


class State(Enum):
    """What a caller does."""

    SILENT = auto()  # until it speaks again
    SPEAKING = auto()
    WAITING = auto()  # for the first audio
    LISTENING = auto()


class VoiceTraffic(Traffic):
    """All callers of this process. `latency` is from the end of speech, `service` from when the last of it was sent."""

    shown = LATENCY
    row = "turn"
    latencies = _LATENCIES
    is_open_model = True

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        assert plan.speech is not None
        speech = plan.speech
        form = AudioFormat(Encoding.PCM16, speech.sample_rate_hz, speech.channels)
        start = {"encoding": form.encoding, "sampleRate": form.sample_rate_hz, "channels": form.channels}
        self.audio_start = msgspec.json.encode({"type": "audio_start", "timestamp": 0, "data": start})
        self.speech_ns = int(form.duration_ms(len(speech.audio)) * 1e6)
        self.chunks = _templates(form, _whole_chunks(speech, form))
        self.silence = _templates(form, bytes(form.size_bytes(CHUNK_MS)))[0]
        self.pause_ns = int((plan.think_ms or 0) * 1e6)
        self.asked = 0
        self.answered = 0
        self._latencies: dict[str, list[int]] = {name: [] for name in (LATENCY, SERVICE, STALL, *_STAGES)}

    def new_connection(self, slot: int, index: int) -> CallerConnection:
        return CallerConnection(self, slot, index)

    def record(self, name: str, latency_ns: int) -> None:
        """Count one latency."""
        self._latencies[name].append(latency_ns)

    def flush(self) -> None:
        for name, latencies in self._latencies.items():
            if latencies:
                self._latencies[name] = []
                self.recorders[name].record(latencies)

    def result(self, part: Part) -> None:
        part.replies_expected = self.asked
        part.replies_received = self.answered


class CallerConnection(LoadConnection):
    """One caller."""

    __slots__ = (
        "_due_ns",
        "_is_counted",
        "_number",
        "_place",
        "_played_ns",
        "_response_id",
        "_sent_ns",
        "_speaks_ns",
        "_spoken_ns",
        "_state",
        "_until_ns",
    )

    traffic: VoiceTraffic

    def __init__(self, traffic: VoiceTraffic, slot: int, index: int) -> None:
        super().__init__(traffic, slot, index)
        self._state = State.SILENT
        self._number = 0  # of the next chunk
        self._place = 0  # in the speech
        self._due_ns = 0  # of the next chunk
        self._speaks_ns = 0  # when it speaks again
        self._is_counted = False
        self._spoken_ns = 0  # when the speech ended
        self._sent_ns = 0  # when the last of it was sent
        self._until_ns = NEVER  # when it gives up
        self._response_id: str | None = None
        self._played_ns = 0  # when all audio that came will have been played

    def ready(self) -> None:
        traffic = self.traffic
        self.transport.send(TEXT, traffic.audio_start)
        now = monotonic_ns()
        # Spread over a turn, so that callers do not all speak at the same time.
        spread_ns = (traffic.speech_ns + traffic.pause_ns + 10**9) * self.index // max(1, traffic.connections)
        self._speaks_ns = now + spread_ns
        self._due_ns = now + CHUNK_NS
        self._arm()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        super().on_ws_disconnected(transport)
        if self._state is not State.SILENT:  # its turn is lost with it, and nobody waits for an answer any more
            self._end_turn()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + (self._due_ns - monotonic_ns()) / 1e9, self._speak)

    def _speak(self) -> None:
        """Send every chunk that is due, and come back for the next."""
        while self.left_ns == 0 and not self._is_over():
            now = monotonic_ns()
            if self._due_ns > now:
                self._arm()
                return
            if now > self._until_ns:
                self._end_turn("no answer in time")
            self._send_chunk(now)

    def _is_over(self) -> bool:
        return self._state is State.SILENT and self._due_ns >= self.traffic.window_end_ns

    def _send_chunk(self, now: int) -> None:
        traffic, counts = self.traffic, self.traffic.counts
        captured_ns = self._due_ns - CHUNK_NS  # when the first sample of this chunk was heard
        if self._state is State.SILENT and captured_ns >= self._speaks_ns:
            self._begin_turn(captured_ns)
        chunk = traffic.silence
        if self._state is State.SPEAKING:
            chunk = traffic.chunks[self._place]
            self._place += 1
        milliseconds = (now + traffic.wall_ns) // 1_000_000
        self.transport.send(TEXT, chunk % (milliseconds, self._number))
        self._number += 1
        counts.sent += 1
        counts.late_sends += now - self._due_ns > LATE_NS
        counts.counted_sent += traffic.window_start_ns <= self._due_ns < traffic.window_end_ns
        if self._state is State.SPEAKING and self._place == len(traffic.chunks):
            self._state = State.WAITING
            self._sent_ns = now
            self._until_ns = self._spoken_ns + ANSWER_TIMEOUT_NS
        self._due_ns += CHUNK_NS

    def _begin_turn(self, start_ns: int) -> None:
        traffic = self.traffic
        self._state = State.SPEAKING
        self._place = 0
        self._spoken_ns = start_ns + traffic.speech_ns
        self._response_id = None
        self._is_counted = traffic.window_start_ns <= start_ns < traffic.window_end_ns
        if self._is_counted:
            traffic.asked += 1
            traffic.counts.awaited += 1

    def _end_turn(self, problem: str = "") -> None:
        """Go over to silence; `problem` says what was wrong beside what the server itself reported."""
        traffic = self.traffic
        if problem:
            traffic.error(problem)
        if self._is_counted:
            traffic.counts.awaited -= 1
        self._is_counted = False
        self._state = State.SILENT
        self._until_ns = NEVER
        self._speaks_ns = max(monotonic_ns(), self._due_ns) + traffic.pause_ns

    def text(self, payload: bytes) -> None:
        traffic = self.traffic
        try:
            envelope = decode_envelope(payload)
        except NOT_JSON:
            traffic.error(fault_of(payload))
            return
        now = monotonic_ns()
        traffic.counts.received += 1
        traffic.counts.counted_received += traffic.window_start_ns <= now < traffic.window_end_ns
        self.other(envelope)
        if self._state is not State.SILENT:
            try:
                self._hear(envelope, now)
            except WsctlError:
                traffic.error(f"{envelope.type} is malformed")

    def _hear(self, envelope: Inbound, now: int) -> None:
        match envelope.type:
            case "response_started":
                self._response_id = decode_data(envelope.data, ResponseStarted).response_id
            case "audio_chunk":
                self._listen(decode_data(envelope.data, AudioChunk), now)
            case "metrics" if self._is_counted and self._state is not State.SPEAKING:
                metrics = decode_data(envelope.data, TurnMetrics)
                for name, field in _STAGES.items():
                    if (value := getattr(metrics, field)) is not None:
                        self.traffic.record(name, value * 1_000_000)
            case "response_done" if decode_data(envelope.data, ResponseDone).response_id == self._response_id:
                if self._state is State.LISTENING:
                    self.traffic.answered += self._is_counted
                    self._end_turn()
                else:
                    self._end_turn("an answer without audio")
            case "error" if decode_data(envelope.data, ErrorData).code in _FAILURES:
                self._end_turn()  # the server's error is counted already

    def _listen(self, chunk: AudioChunk, now: int) -> None:
        traffic = self.traffic
        if chunk.response_id != self._response_id:
            return
        if self._state is State.SPEAKING:
            self._end_turn("an answer before the end of the speech")
            return
        if self._state is State.WAITING:
            self._state = State.LISTENING
            self._played_ns = now
            if self._is_counted:
                traffic.record(LATENCY, now - self._spoken_ns)
                traffic.record(SERVICE, max(0, now - self._sent_ns))
        elif (stall_ns := now - self._played_ns) > LEAST_STALL_NS and self._is_counted:
            traffic.record(STALL, stall_ns)
        self._until_ns = now + ANSWER_TIMEOUT_NS
        self._played_ns = max(self._played_ns, now) + _duration_ns(chunk)


def _duration_ns(chunk: AudioChunk) -> int:
    size_bytes = len(chunk.audio_data) * 3 // 4  # of base64; its padding is less than a sample
    form = AudioFormat.of(chunk.encoding or Encoding.PCM16, chunk.sample_rate or 16_000, 1)
    return int(form.duration_ms(size_bytes) * 1e6)


def _whole_chunks(speech: CallerSpeech, form: AudioFormat) -> bytes:
    """Return the speech with silence up to the end of its last chunk."""
    size = form.size_bytes(CHUNK_MS)
    return speech.audio + bytes(-len(speech.audio) % size)


def _templates(form: AudioFormat, audio: bytes) -> list[bytes]:
    """Return a message for each chunk, with places for the time and the number."""
    envelope = b'{"type":"audio_chunk","timestamp":%%d,"data":{"audioData":"%s","sequenceNumber":%%d}}'
    return [envelope % chunk.audio_data.encode() for chunk in audio_chunks(form, audio)]


class VoiceLoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How many speak, and for how long."""

    TITLE: ClassVar = "Load"

    connections: Annotated[int, count("Callers, each on a connection.")] = 4
    think: Annotated[int, milliseconds("Pause between an answer and the next turn.", "1s")] = 1_000
    ramp: Annotated[int | None, RAMP] = None
    duration: Annotated[int, milliseconds("What is measured; the ramp is not.", "30s")] = 30_000
    drain: Annotated[int, milliseconds("Wait for the last answers after it.", "30s")] = 30_000


class VoiceScenario(Scenario):
    """Callers of a voice server."""

    name = "voice"
    help = "Have callers speak in real time; measure the answers."
    options = VoiceLoadOptions
    traffic = VoiceTraffic
    file = FileArgument(FileKind.SPEECH, "FILE.wav", "What the callers say: one sentence.")
    user = "caller"
    server_options = ("--voice",)
    latency_rule = "answer"
    latency_title = "speech to answer"
    latencies = _LATENCIES
    counts: ClassVar = {"stalls": lambda summary: summary.latencies[STALL].count if STALL in summary.latencies else 0}
    latency_rules = ("answer.p50<2s", "answer.max<10s", "stalls<=0")  # a caller asks but a few times in a short run
    faults = frozenset(("lost",))
    search = SearchRange((1, 1000), None, duration_ms=20_000, drain_ms=30_000, unit="callers")
    awaits_answers = True

    def plan_fields(self, options: Any, content: Any = None) -> dict[str, Any]:
        return {
            "connections": options.connections,
            "think_ms": float(options.think),
            "ramp_s": ramp_s(options.ramp, options.connections),
            "duration_s": options.duration / 1000,
            "drain_s": options.drain / 1000,
            "speech": content,
        }

    def title_parts(self, plan: Plan) -> Iterator[str]:
        assert plan.speech is not None
        yield f"{plan.speech.duration_s:.1f} s of speech"

    def doubts(self, summary: Summary) -> Iterator[str]:
        if not summary.ledger.expected:
            yield "Nothing was measured: no caller began a turn in the window, which should be longer."

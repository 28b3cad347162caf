"""What `wsctl voice` tells of a conversation: text, the saved answer and the latency of each stage, or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cli.output import note, out, out_bytes, out_json, table
from wsclient.errors import NoReplyError
from wscore.errors import ConfigError, WsctlError
from wscore.payloads import ResponseStatus, TurnMetrics
from wscore.units import format_figure
from wscore.wav import Wav, write_wav

if TYPE_CHECKING:
    from wsclient.voice import Talk
    from wscore.exchange import TurnResult

STANDARD_OUTPUT: Final = Path("-")
_STAGES: Final = (
    ("endpoint_ms", "endpoint", "silence until the turn was over"),
    ("asr_ms", "recognizer", "from there to the transcript"),
    ("llm_ttft_ms", "responder", "from there to the answer's first words"),
    ("tts_ttfb_ms", "synthesizer", "from the first sentence to its first audio"),
    ("e2e_ms", "together", "from the end of speech to the first audio"),
)


class VoiceError(WsctlError):
    """The server answered nothing, or with an error; `__str__` says which."""


def reply_file(wanted: Path | None, *, is_saved: bool) -> Path | None:
    """Return where the answer goes: as wanted, else, when it is saved, the first of reply.wav, reply-2.wav ... free."""
    if wanted is not None:
        if wanted != STANDARD_OUTPUT and not wanted.absolute().parent.is_dir():
            raise ConfigError("--out", f"{wanted.parent} is not a directory")
        return wanted
    if not is_saved:
        return None
    number = 1
    while (path := Path(f"reply-{number}.wav" if number > 1 else "reply.wav")).exists():
        number += 1
    return path


class VoiceReport:
    """One conversation, and the error that ended it if one did."""

    def __init__(self, talk: Talk, error: WsctlError | None) -> None:
        self._talk = talk
        self._turns = tuple(talk.exchange.turns.values())
        self._error = self._problem(error)

    def show(self, path: Path | None, *, as_json: bool) -> None:
        """Save the voice where there is a place for it, print the rest; raises what went wrong, when all is told."""
        voice = self._talk.exchange.reply
        saved = path if voice is not None else None
        if voice is not None and path is not None:
            _save(path, voice)
        if as_json:
            self._show_json(saved)
        elif path != STANDARD_OUTPUT:
            self._show_text()
        if voice is not None and path != STANDARD_OUTPUT:
            told = "of speech came; --save keeps it" if path is None else f"of speech saved to {path}"
            note(f"{voice.duration_ms / 1000:.1f} s {told}")
        if self._error is not None:
            raise self._error

    def _problem(self, error: WsctlError | None) -> WsctlError | None:
        if isinstance(error, NoReplyError) and not self._turns:
            return VoiceError(
                f"nothing came within {format_figure(error.timeout_s)} s: does the server run with --voice?"
            )
        if error is not None:
            return error
        errors = [*self._talk.exchange.errors, *(turn.error for turn in self._turns if turn.error is not None)]
        if errors:
            return VoiceError(f"the server answered {errors[0].code}: {errors[0].message}")
        if not any(turn.answer for turn in self._turns):
            return VoiceError("no answer came")
        return None

    def _show_text(self) -> None:
        for turn in self._turns:
            table(_texts(turn))
            if turn.metrics is not None:
                out("")
                table(_latencies(turn.metrics), indent="  ")
                out("")
        if (wait_ms := self._talk.wait_ms) is not None:
            note(f"heard the answer begin {wait_ms:.0f} ms after the question's end")

    def _show_json(self, path: Path | None) -> None:
        out_json(
            {
                "turns": [_as_json(turn) for turn in self._turns],
                "error": None if self._error is None else str(self._error),
                "reply": None if path is None else str(path),
                "waitMs": None if self._talk.wait_ms is None else round(self._talk.wait_ms),
            }
        )


def _save(path: Path, voice: Wav) -> None:
    data = write_wav(voice)
    if path == STANDARD_OUTPUT:
        out_bytes(data)
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError("--out", f"{path}: {error.strerror}") from None


def _texts(turn: TurnResult) -> Iterator[tuple[str, str]]:
    if turn.transcript:
        yield "heard", turn.transcript
    if turn.answer:
        cut = " (interrupted)" if turn.status is ResponseStatus.CANCELLED else ""
        yield "answer", turn.answer + cut
    if turn.error is not None:
        yield "error", f"{turn.error.code}: {turn.error.message}"


def _latencies(metrics: TurnMetrics) -> Iterator[tuple[str, str, str]]:
    for field, stage, meaning in _STAGES:
        value = getattr(metrics, field)
        if value is not None:
            yield stage, f"{value:>6} ms", meaning


def _as_json(turn: TurnResult) -> dict[str, Any]:
    metrics = turn.metrics
    reply = turn.reply
    return {
        "turnId": turn.turn_id,
        "transcript": turn.transcript,
        "answer": turn.answer,
        "status": "cancelled" if turn.status is ResponseStatus.CANCELLED else "failed" if turn.error else "completed",
        "audioMs": 0 if reply is None else round(reply.duration_ms),
        "metrics": None if metrics is None else msgspec.to_builtins(metrics),
        "error": None if turn.error is None else {"code": turn.error.code, "message": turn.error.message},
    }

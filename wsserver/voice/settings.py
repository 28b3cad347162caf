"""Which backends a voice app works with and how turns are taken; `wsctl serve --voice` fills it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class RecognizerName(StrEnum):
    """Speech to text."""

    AUTO = "auto"
    POCKETSPHINX = "pocketsphinx"
    WHISPER = "whisper"
    HTTP = "http"


class ResponderName(StrEnum):
    """Text to answer."""

    AUTO = "auto"
    RULES = "rules"
    LLM = "llm"
    HTTP = "http"


class SynthesizerName(StrEnum):
    """Text to speech."""

    AUTO = "auto"
    NANOTTS = "nanotts"
    ESPEAK_NG = "espeak-ng"
    FLITE = "flite"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible server: its base URL with or without `/v1`, the model to name, and the key, never shown."""

    url: str
    model: str = ""
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """When a turn begins and ends, in ms; the defaults are those of voice assistants."""

    end_silence_ms: int = 500
    prefix_ms: int = 300
    max_turn_ms: int = 30_000
    barge_in_ms: int = 300


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """The choice of backends; AUTO takes what is installed, an endpoint for a stage makes AUTO take HTTP."""

    recognizer: RecognizerName = RecognizerName.AUTO
    responder: ResponderName = ResponderName.AUTO
    synthesizer: SynthesizerName = SynthesizerName.AUTO
    grammar: Path | None = None
    whisper_model: Path | None = None
    gguf: Path | None = None
    asr: Endpoint | None = None
    llm: Endpoint | None = None
    tts: Endpoint | None = None
    voice: str | None = None
    turns: TurnPolicy = TurnPolicy()
    stage_timeout_ms: int = 10_000
    workers: int | None = None

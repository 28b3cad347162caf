"""The options of `wsctl serve --voice`, and the settings of the voice app that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec
import typer

from cli.secrets import read_key
from cli.settings import duration_option
from cli.spreading import OptionGroup
from wscore.errors import ConfigError
from wsserver.voice.settings import (
    Endpoint,
    RecognizerName,
    ResponderName,
    SynthesizerName,
    TurnPolicy,
    VoiceSettings,
)

if TYPE_CHECKING:
    from wsserver import App

_DEFAULTS: Final = VoiceSettings()
_TURNS: Final = _DEFAULTS.turns

Synthesizer = Annotated[SynthesizerName, typer.Option(help="Text to speech.")]
VoiceName = Annotated[str | None, typer.Option(metavar="NAME", help="Voice of the synthesizer.")]


class VoiceAppOptions(OptionGroup, frozen=True, kw_only=True):
    """How the voice app hears, answers and speaks."""

    TITLE: ClassVar = "Voice"

    voice: Annotated[
        bool, typer.Option("--voice", help="Run the voice app: speech in, transcript, answer, speech out.")
    ] = False
    recognizer: Annotated[RecognizerName, typer.Option(help="Speech to text.")] = RecognizerName.AUTO
    responder: Annotated[ResponderName, typer.Option(help="What answers.")] = ResponderName.AUTO
    synthesizer: Synthesizer = SynthesizerName.AUTO
    grammar: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSGF grammar: all that pocketsphinx shall understand.")
    ] = None
    whisper_model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Whisper model, converted to CTranslate2.", show_default="the extra's tiny.en"
        ),
    ] = None
    gguf: Annotated[Path | None, typer.Option(metavar="FILE", help="Language model to answer with.")] = None
    asr_url: Annotated[str | None, typer.Option(metavar="URL", help="OpenAI-compatible server for speech to text.")] = (
        None
    )
    asr_model: Annotated[str, typer.Option(metavar="NAME", help="Model to ask of it.")] = ""
    asr_key_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File with its key (or WSCTL_ASR_KEY).")] = (
        None
    )
    llm_url: Annotated[str | None, typer.Option(metavar="URL", help="OpenAI-compatible server for answers.")] = None
    llm_model: Annotated[str, typer.Option(metavar="NAME", help="Model to ask of it.")] = ""
    llm_key_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File with its key (or WSCTL_LLM_KEY).")] = (
        None
    )
    tts_url: Annotated[str | None, typer.Option(metavar="URL", help="OpenAI-compatible server for text to speech.")] = (
        None
    )
    tts_model: Annotated[str, typer.Option(metavar="NAME", help="Model to ask of it.")] = ""
    tts_key_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File with its key (or WSCTL_TTS_KEY).")] = (
        None
    )
    voice_name: VoiceName = None
    end_silence: Annotated[int, duration_option("Silence that ends a turn.", show_default="500ms")] = (
        _TURNS.end_silence_ms
    )
    max_turn: Annotated[int, duration_option("Longest turn.", show_default="30s")] = _TURNS.max_turn_ms
    barge_in: Annotated[int, duration_option("Speech that cancels the answer that plays.", show_default="300ms")] = (
        _TURNS.barge_in_ms
    )
    voice_timeout: Annotated[int, duration_option("Time that a stage may take for a step.", show_default="10s")] = (
        _DEFAULTS.stage_timeout_ms
    )
    voice_workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, metavar="N", help="Processes for each stage.", show_default="one per core, at most 4"
        ),
    ] = None


def voice_settings(options: VoiceAppOptions) -> VoiceSettings | None:
    """Return what the voice app needs, None without `--voice`; raises ConfigError."""
    if not options.voice:
        for field in msgspec.structs.fields(options):
            if getattr(options, field.name) != field.default:
                raise ConfigError(f"--{field.name.replace('_', '-')}", "is for the voice app", "add --voice")
        return None
    return VoiceSettings(
        recognizer=options.recognizer,
        responder=options.responder,
        synthesizer=options.synthesizer,
        grammar=options.grammar,
        whisper_model=options.whisper_model,
        gguf=options.gguf,
        asr=_endpoint("asr", options.asr_url, options.asr_model, options.asr_key_file),
        llm=_endpoint("llm", options.llm_url, options.llm_model, options.llm_key_file),
        tts=_endpoint("tts", options.tts_url, options.tts_model, options.tts_key_file),
        voice=options.voice_name,
        turns=TurnPolicy(
            end_silence_ms=options.end_silence, max_turn_ms=options.max_turn, barge_in_ms=options.barge_in
        ),
        stage_timeout_ms=options.voice_timeout,
        workers=options.voice_workers,
    )


def voice_app_of(settings: VoiceSettings) -> tuple[App, list[str]]:
    """Return the app, and what was chosen in words; raises ConfigError."""
    from wsserver.voice.app import voice_app
    from wsserver.voice.choosing import choose, describe

    stages = choose(settings)
    return voice_app(stages, settings), list(describe(stages, settings))


def _endpoint(stage: str, url: str | None, model: str, key_file: Path | None) -> Endpoint | None:
    if url is None:
        for option, value in ((f"--{stage}-model", model), (f"--{stage}-key-file", key_file)):
            if value:
                raise ConfigError(option, "there is no server to use it with", f"add --{stage}-url")
        return None
    return Endpoint(url, model, read_key(stage, key_file))

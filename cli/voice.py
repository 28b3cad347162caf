"""`wsctl voice`: speaks to a running voice server, and shows what it understood, answered and how long it took."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.grouped import GroupedCommand
from cli.options.connection import ConnectionOptions, Url
from cli.options.talk import AnswerOptions, PaceOptions, SayOptions
from cli.output import note
from cli.profiles import SavedProfile
from cli.secrets import read_file
from cli.settings import ConfigFile
from cli.spreading import spread
from cli.stdin import is_terminal, read_stdin
from cli.voicereport import STANDARD_OUTPUT, VoiceReport, reply_file
from wscore.errors import ConfigError, WsctlError
from wscore.wav import Wav, WavError, read_wav
from wsserver.voice.settings import SynthesizerName

if TYPE_CHECKING:
    from wsclient.voice import Talk

MAX_TEXT_CHARS = 4000
MAX_WAV_BYTES = 64 << 20
STANDARD_INPUT = Path("-")

app = typer.Typer(
    help="Speak to a server that runs with --voice.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(cls=GroupedCommand)
@spread
def say(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")],
    url: Url = None,
    *,
    speech: SayOptions,
    answer: AnswerOptions,
    connection: ConnectionOptions,
    config: ConfigFile = None,
) -> None:
    """Say something to a voice server, and show its answer.

    The text is spoken here, with a synthesizer of this machine, and sent in real time as a microphone would.
    """
    if not text.strip():
        raise ConfigError("TEXT", "is empty", 'say something: wsctl voice say "what time is it"')
    if len(text) > MAX_TEXT_CHARS:
        raise ConfigError("TEXT", f"has {len(text)} characters", f"at most {MAX_TEXT_CHARS} can be said at once")
    target = connection.target.place(url, config)
    if speech.typed:
        _talk(lambda talk: talk.type(text), target, connection, answer)
        return
    wav = asyncio.run(_spoken(text, speech.synthesizer, speech.voice_name))
    note(f"saying {wav.duration_ms / 1000:.1f} s of speech")
    _talk(lambda talk: talk.speak(wav), target, connection, answer)


@app.command(cls=GroupedCommand)
@spread
def send(
    file: Annotated[Path, typer.Argument(metavar="FILE.wav", help="Speech, mono or stereo; -: standard input.")],
    url: Url = None,
    *,
    pace: PaceOptions,
    answer: AnswerOptions,
    connection: ConnectionOptions,
    config: ConfigFile = None,
) -> None:
    """Send a WAV file to a voice server, and show its answer."""
    name = "standard input" if file == STANDARD_INPUT else str(file)
    try:
        wav = read_wav(_read(file))
    except WavError as error:
        raise ConfigError(name, str(error)) from None
    if wav.missing_ms:
        note(f"{name} ends {wav.missing_ms / 1000:.1f} s too soon; what is there is sent")
    note(f"sending {wav.duration_ms / 1000:.1f} s of audio")
    target = connection.target.place(url, config)
    _talk(lambda talk: talk.speak(wav, in_real_time=not pace.fast), target, connection, answer)


def _read(file: Path) -> bytes:
    """Return what a file or standard input holds; raises ConfigError."""
    if file == STANDARD_INPUT:
        if is_terminal():
            raise ConfigError("-", "standard input is a terminal", "pipe a WAV file into it")
        return read_stdin(MAX_WAV_BYTES)
    return read_file(file, "FILE.wav", MAX_WAV_BYTES)


async def _spoken(text: str, name: SynthesizerName, voice: str | None) -> Wav:
    """Return the text as speech; raises ConfigError, and StageError when the synthesizer fails."""
    from wsserver.voice.choosing import choose_synthesizer
    from wsserver.voice.saying import spoken
    from wsserver.voice.settings import VoiceSettings

    if name is SynthesizerName.HTTP:
        raise ConfigError("--synthesizer http", "is for the server", "take one of this machine")
    wav = await spoken(text, choose_synthesizer(VoiceSettings(synthesizer=name, voice=voice, workers=1)))
    if not wav.audio:
        raise ConfigError("TEXT", "has nothing that can be spoken", "--typed sends it as it is")
    return wav


def _talk(
    ask: Callable[[Talk], Awaitable[None]], target: SavedProfile, connection: ConnectionOptions, answer: AnswerOptions
) -> None:
    """Connect, ask, and report what came, also when something went wrong meanwhile."""
    from wsclient.voice import Talk

    if answer.json and answer.out == STANDARD_OUTPUT:
        raise ConfigError("--json", "and --out - both go to standard output", "give --out a file")
    out = reply_file(answer.out, is_saved=answer.save)
    client = connection.connector().client(target)
    talk = Talk(client, timeout_s=answer.timeout / 1000)

    async def run() -> WsctlError | None:
        async with client:
            try:
                await ask(talk)
            except WsctlError as error:
                return error
        return None

    VoiceReport(talk, asyncio.run(run())).show(out, as_json=answer.json)

"""`wsctl voice`: speaks to a running voice server, and shows what it understood, answered and how long it took."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.connecting import CredentialOptions, dial_options
from cli.output import note
from cli.secrets import read_file
from cli.settings import ConfigFile, duration_option
from cli.spreading import spread
from cli.stdin import is_terminal, read_stdin
from cli.voicereport import STANDARD_OUTPUT, Report, reply_file
from wsclient.url import DEFAULT_URL
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

Url = Annotated[str, typer.Argument(metavar="URL", help="A ws:// or wss:// URL.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkOptions(CredentialOptions):
    """How to connect, how long to wait, and where the answer goes."""

    save: Annotated[bool, typer.Option("--save", help="Save the answer's voice as a new reply.wav here.")] = False
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save the answer's voice to this file; -: standard output, and no text."),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False
    timeout: Annotated[int, duration_option("How long to wait for the next message.", show_default="30s")] = 30_000
    uds: Annotated[str | None, typer.Option(metavar="PATH", help="Connect to this Unix socket.")] = None
    session: Annotated[str | None, typer.Option(metavar="ID", help="Session to join.")] = None
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificates to trust, as PEM.")] = None
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not check the server's certificate.")] = False


@app.command()
@spread
def say(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")],
    url: Url = DEFAULT_URL,
    typed: Annotated[bool, typer.Option("--typed", help="Send the text itself, not speech.")] = False,
    synthesizer: Annotated[SynthesizerName, typer.Option(help="What speaks it.")] = SynthesizerName.AUTO,
    voice_name: Annotated[str | None, typer.Option(metavar="NAME", help="Voice of the synthesizer.")] = None,
    options: TalkOptions = TalkOptions(),
    config: ConfigFile = None,
) -> None:
    """Say something to a voice server, and show its answer.

    The text is spoken here, with a synthesizer of this machine, and sent in real time as a microphone would.
    """
    if not text.strip():
        raise ConfigError("TEXT", "is empty", 'say something: wsctl voice say "what time is it"')
    if len(text) > MAX_TEXT_CHARS:
        raise ConfigError("TEXT", f"has {len(text)} characters", f"at most {MAX_TEXT_CHARS} can be said at once")
    if typed:
        _talk(lambda talk: talk.type(text), url, options)
        return
    wav = asyncio.run(_spoken(text, synthesizer, voice_name))
    note(f"saying {wav.duration_ms / 1000:.1f} s of speech")
    _talk(lambda talk: talk.speak(wav), url, options)


@app.command()
@spread
def send(
    file: Annotated[Path, typer.Argument(metavar="FILE.wav", help="Speech, mono or stereo; -: standard input.")],
    url: Url = DEFAULT_URL,
    fast: Annotated[bool, typer.Option("--fast", help="Send it at once, not in real time.")] = False,
    options: TalkOptions = TalkOptions(),
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
    _talk(lambda talk: talk.speak(wav, in_real_time=not fast), url, options)


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


def _talk(ask: Callable[[Talk], Awaitable[None]], url: str, options: TalkOptions) -> None:
    """Connect, ask, and report what came, also when something went wrong meanwhile."""
    from wsclient.client import Client
    from wsclient.voice import Talk

    if options.json and options.out == STANDARD_OUTPUT:
        raise ConfigError("--json", "and --out - both go to standard output", "give --out a file")
    out = reply_file(options.out, is_saved=options.save)
    dial = dial_options(ca=options.ca, insecure=options.insecure, uds=options.uds)
    tokens = options.credentials().source(dial)
    client = Client(url, token=tokens, session_id=options.session, reconnect=None, dial=dial)
    talk = Talk(client, timeout_s=options.timeout / 1000)

    async def run() -> WsctlError | None:
        async with client:
            try:
                await ask(talk)
            except WsctlError as error:
                return error
        return None

    Report(talk, asyncio.run(run())).show(out, as_json=options.json)

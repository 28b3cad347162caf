"""The options of `wsctl voice`: how to speak, and what becomes of the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import typer

from cli.options.output import Json
from cli.options.voice import Synthesizer, VoiceName
from cli.settings import duration_option
from cli.spreading import OptionGroup
from wsserver.voice.settings import SynthesizerName


class SayOptions(OptionGroup, frozen=True, kw_only=True):
    """What speaks the text."""

    TITLE: ClassVar = "Speech"

    typed: Annotated[bool, typer.Option("--typed", help="Send the text itself, not speech.")] = False
    synthesizer: Synthesizer = SynthesizerName.AUTO
    voice_name: VoiceName = None


class PaceOptions(OptionGroup, frozen=True, kw_only=True):
    """How a recording is spoken."""

    TITLE: ClassVar = "Speech"

    fast: Annotated[bool, typer.Option("--fast", help="Send it at once, not in real time.")] = False


class AnswerOptions(OptionGroup, frozen=True, kw_only=True):
    """How long to wait for the answer, and where it goes."""

    TITLE: ClassVar = "Answer"

    save: Annotated[bool, typer.Option("--save", help="Save the answer's voice as a new reply.wav here.")] = False
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save the answer's voice to this file; -: standard output, and no text."),
    ] = None
    json: Json = False
    timeout: Annotated[int, duration_option("How long to wait for the next message.", show_default="30s")] = 30_000

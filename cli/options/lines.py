"""The options of work by lines: what is sent and played back, and when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import typer

from cli.options.output import read_filter
from cli.settings import duration_option
from cli.spreading import OptionGroup
from wscore.errors import ConfigError

if TYPE_CHECKING:
    from wsclient.binaryform import Binary
    from wsclient.goals import Goal
    from wsclient.piping import SendOptions

LINGER_MS: Final = 500

Linger = Annotated[int, duration_option("Silence after the last line that ends it.", show_default="500ms")]


class LineOptions(OptionGroup, frozen=True, kw_only=True):
    """What is sent, and how lines become messages."""

    TITLE: ClassVar = "Lines to send"

    send: Annotated[list[str] | None, typer.Option(metavar="LINE", help="Send this first (repeatable).")] = None
    send_file: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Send a file as a binary frame (repeatable)."),
    ] = None
    hex: Annotated[bool, typer.Option("--hex", help="Lines are binary frames, written as hex.")] = False
    base64: Annotated[bool, typer.Option("--base64", help="Lines are binary frames, written as base64.")] = False
    type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Type of the message around bare text.", show_default="message")
    ] = None
    to: Annotated[
        str | None, typer.Option(metavar="ROOM", help="Room that lines go to which name none; it is joined, too.")
    ] = None
    capture: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="Keep a value that comes, such as id=data.id, as {{id}} (repeatable)."),
    ] = None
    templates: Annotated[
        bool | None,
        typer.Option(
            help="Fill in {{uuid}}, {{now}}, {{last.data.x}} in --send and lines of input.", show_default="in --send"
        ),
    ] = None
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="N", help="Lines a second.", show_default="what the server allows"),
    ] = None
    raw: Annotated[bool, typer.Option("--raw", help="Send and print frames as they are.")] = False

    def sending(self, *, probes: bool) -> SendOptions:
        """Return how to send; `probes` says that somebody wants to see errors, so that nothing is checked."""
        from wsclient.binaryform import Binary
        from wsclient.piping import SendOptions
        from wscore.rooms import ROOM_RULE, is_room_name

        if self.to is not None and (self.raw or self._binary() is not Binary.NONE):
            raise ConfigError(
                "--to", "is for messages, and these lines are frames as they are", "leave one of them out"
            )
        if self.to is not None and not is_room_name(self.to):
            raise ConfigError("--to", f"{self.to!r} is no name of a room", ROOM_RULE)
        return SendOptions(
            # Arguments that are not UTF-8 come as lone surrogates, which no frame can hold.
            first=[line.encode(errors="surrogateescape").decode(errors="replace") for line in self.send or ()],
            bare_type=self.type or "",
            room=self.to,
            binary=self._binary(),
            files=[(str(path), _content(path)) for path in self.send_file or ()],
            expands_first=self.templates is not False,
            expands_input=self.templates is True,
            per_second=self.rate,
            as_is=self.raw,
            adds_ids=not self.raw,
            probes=probes,
        )

    def _binary(self) -> Binary:
        from wsclient.binaryform import Binary

        if self.hex and self.base64:
            raise ConfigError("--hex", "and --base64 contradict each other")
        return Binary.HEX if self.hex else Binary.BASE64 if self.base64 else Binary.NONE

    def captures(self) -> dict[str, str]:
        """Return what is kept of messages, path by name; raises ConfigError."""
        from wsclient.templates import parse_capture

        return dict(map(parse_capture, self.capture or ()))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--send-file {path}", error.strerror or str(error)) from None


class GoalOptions(OptionGroup, frozen=True, kw_only=True):
    """When it ends, and what it has to reach."""

    TITLE: ClassVar = "When it ends"

    expect: Annotated[
        list[str] | None, typer.Option(metavar="TYPE", help="End with 0 once this type came (repeatable: all of them).")
    ] = None
    until: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER", help="End with 0 once a message was printed that has these words, or as for --filter."
        ),
    ] = None
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="End with 0 after N lines.")] = None
    timeout: Annotated[
        int | None, duration_option("End after this time; with 1 if --expect, --until or --count is not met.")
    ] = None
    linger: Linger = LINGER_MS

    def goal(self) -> Goal:
        """Return what it has to reach; raises ConfigError."""
        from wsclient.goals import Goal

        until = None if self.until is None else read_filter(self.until, "--until")
        return Goal(expect=frozenset(self.expect or ()), until=until, count=self.count)


class PlaybackOptions(OptionGroup, frozen=True, kw_only=True):
    """How a recording is played back."""

    TITLE: ClassVar = "Playback"

    speed: Annotated[str, typer.Option(metavar="N|max", help="So many times as fast; max: without a pause.")] = "1"
    keep_timestamps: Annotated[
        bool, typer.Option("--keep-timestamps", help="Send the timestamps as they were recorded.")
    ] = False
    linger: Linger = LINGER_MS

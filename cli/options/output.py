"""The options that say what is printed, shown and recorded, and how."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from cli.spreading import OptionGroup
from wscore.errors import ConfigError

if TYPE_CHECKING:
    from wsclient.filters import MessageFilter

Theme = Annotated[str | None, typer.Option(metavar="NAME", help="Colours of the terminal.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class ShownOptions(OptionGroup, frozen=True, kw_only=True):
    """What is shown of what arrives, and recorded of both directions."""

    TITLE: ClassVar = "What is shown and recorded"

    filter: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER",
            help="Print only what has these words, 'type:chat.*', 'dir:in' or '/regex/'; -word: lacks it.",
        ),
    ] = None
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record every message, in and out, to this new file.")
    ] = None

    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell the handshake: request, answer, TLS; secrets are left out.")
    ] = False

    def shows(self) -> MessageFilter:
        """Return what is shown; raises ConfigError."""
        return read_filter(self.filter or "", "--filter")


class ViewOptions(ShownOptions, frozen=True, kw_only=True):
    """As ShownOptions, with a recording to look at in place of a server, and the terminal client."""

    open: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Look through a recording; no server is needed.")
    ] = None


class TerminalOptions(OptionGroup, frozen=True, kw_only=True):
    """Whether the terminal client opens, and how it looks."""

    TITLE: ClassVar = "Terminal"

    plain: Annotated[bool, typer.Option("--plain", help="Lines in and out, also in a terminal.")] = False
    theme: Theme = None


def read_filter(text: str, option: str) -> MessageFilter:
    """Return the filter that an option holds; raises ConfigError naming the option and the column."""
    from wsclient.filters import FilterError, MessageFilter

    try:
        return MessageFilter.parse(text)
    except FilterError as error:
        raise ConfigError(option, str(error)) from None

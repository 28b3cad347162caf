"""The options of who sends to a running server, looks at it or steers it: by its operations port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import typer

from cli.completion import room_names, session_names
from cli.secrets import KEY_VARIABLES, read_key
from cli.settings import duration_option, size_option
from cli.spreading import OptionGroup
from wsclient.publishing.tries import DEFAULT_OPS_URL, checked_url
from wscore.errors import ConfigError

if TYPE_CHECKING:
    from wsclient.publishing.publisher import AsyncPublisher, Publisher

OpsKeyFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help=f"File with its key (or {KEY_VARIABLES['ops']}).")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
# These have variables of their own: WSCTL_ROOM is there for who connects, and WSCTL_USER holds a password.
_TO: Final = "WSCTL_TO_"


def _room(words: str) -> Any:
    """Return the option that names rooms; the shell knows those of the running server."""
    return typer.Option(metavar="ROOM", help=words, envvar=f"{_TO}ROOM", autocompletion=room_names)


def _session(words: str) -> Any:
    """Return the option that names sessions, likewise."""
    return typer.Option(metavar="ID", help=words, envvar=f"{_TO}SESSION", autocompletion=session_names)


class OperatorOptions(OptionGroup, frozen=True, kw_only=True):
    """Where the operations port is."""

    TITLE: ClassVar = "Operations port"

    ops_url: Annotated[str, typer.Option(metavar="URL", help="Where a server has its --ops-port.")] = DEFAULT_OPS_URL
    ops_key_file: OpsKeyFile = None
    timeout: Annotated[int, duration_option("How long to wait for an answer.", show_default="15s")] = 15_000

    @contextmanager
    def asking(self) -> Iterator[Publisher]:
        """Yield what speaks to it; raises ConfigError, also for what the block was given that is no text."""
        from wsclient.publishing.publisher import Publisher

        with Publisher(*self._place(), timeout_s=self.timeout / 1000) as publisher:
            try:
                yield publisher
            except UnicodeEncodeError:
                raise ConfigError("an argument", "is not text in UTF-8") from None

    def asked_on_a_loop(self) -> AsyncPublisher:
        """Return what speaks to it on an event loop, and tries nothing twice; raises ConfigError."""
        from wsclient.publishing.publisher import AsyncPublisher

        return AsyncPublisher(*self._place(), timeout_s=self.timeout / 1000, retries=0)

    def _place(self) -> tuple[str, str | None]:
        url = checked_url(self.ops_url, "--ops-url")
        if self.timeout <= 0:
            raise ConfigError("--timeout", "is no time at all")
        return url, read_key("ops", self.ops_key_file)


class TargetsOptions(OptionGroup, frozen=True, kw_only=True):
    """For whom a message is."""

    TITLE: ClassVar = "For whom"

    room: Annotated[list[str] | None, _room("Room (repeatable).")] = None
    session: Annotated[list[str] | None, _session("Session (repeatable).")] = None
    user: Annotated[list[str] | None, typer.Option(metavar="USER", help="User (repeatable).", envvar=f"{_TO}USER")] = (
        None
    )


class PublishOptions(OptionGroup, frozen=True, kw_only=True):
    """What is published."""

    TITLE: ClassVar = "Message"

    type: Annotated[str, typer.Option(metavar="TYPE", help="Its type.")] = "message"
    text: Annotated[bool, typer.Option("--text", help="DATA is a text, not JSON.")] = False
    sender: Annotated[str | None, typer.Option(metavar="USER", help="Who the receivers are told it is from.")] = None
    lossy: Annotated[bool, typer.Option("--lossy", help="Slow readers may miss it, and it is not kept.")] = False
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Publish it once, however often that is asked for within ten minutes."),
    ] = None


class GroupsOptions(OptionGroup, frozen=True, kw_only=True):
    """Which sessions or rooms are listed."""

    TITLE: ClassVar = "What is listed"

    order: Annotated[Literal["size", "name"], typer.Option(help="The largest first, or by name.")] = "size"
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many at most.")] = 100


class FoundOptions(OptionGroup, frozen=True, kw_only=True):
    """Which connections are listed: those that all of it holds for."""

    TITLE: ClassVar = "What is listed"

    room: Annotated[str | None, _room("In this room.")] = None
    session: Annotated[str | None, _session("In this session.")] = None
    user: Annotated[str | None, typer.Option(metavar="USER", help="Of this user.", envvar=f"{_TO}USER")] = None
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="From this address or network, as 10.0.0.0/8.")
    ] = None
    older: Annotated[int | None, duration_option("Open for at least this long.")] = None
    younger: Annotated[int | None, duration_option("Open for at most this long.")] = None
    buffered: Annotated[int | None, size_option("With at least this much that waits for the client to read.")] = None
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many at most.")] = 100


class KeptOptions(OptionGroup, frozen=True, kw_only=True):
    """Of whom the history is, and how much of it."""

    TITLE: ClassVar = "Whose history"

    room: Annotated[str | None, _room("Of this room.")] = None
    session: Annotated[str | None, _session("Of this session.")] = None
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many at most.")] = 100
    before: Annotated[int | None, typer.Option(min=1, metavar="SEQ", help="The last ones before this one.")] = None
    remove: Annotated[bool, typer.Option("--remove", help="Have it keep nothing of what was.")] = False
    yes: Yes = False


class KickOptions(OptionGroup, frozen=True, kw_only=True):
    """Whom else, and how."""

    TITLE: ClassVar = "Whom, and how"

    connection: Annotated[str | None, typer.Option(metavar="ID", help="This connection, not all of a user.")] = None
    reason: Annotated[str, typer.Option(metavar="TEXT", help="What they are told, at most 123 bytes.")] = ""
    code: Annotated[int, typer.Option("--close-code", metavar="N", help="Close code; with 4004 they stay away.")] = 4004
    yes: Yes = False

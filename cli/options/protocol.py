"""The options that say what a server speaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import typer

from cli.settings import duration_option
from wscore.foreign import ProtocolName, ProtocolSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolOptions:
    """A protocol by name, and what is special about it."""

    TITLE: ClassVar = "Protocol"

    protocol: Annotated[ProtocolName, typer.Option(help="What the server speaks.")] = ProtocolName.AUTO
    on_open: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Send this first, on every connection (repeatable).")
    ] = field(default=None, repr=False)
    greeting: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Ready with this type, or any; else when it is open.")
    ] = None
    type_key: Annotated[str | None, typer.Option(metavar="KEY", help="Member with the type, such as event.")] = None
    id_key: Annotated[str | None, typer.Option(metavar="KEY", help="Member that pairs reply and request.")] = None
    data_key: Annotated[str | None, typer.Option(metavar="KEY", help="Member with the data.")] = None
    heartbeat: Annotated[str | None, typer.Option(metavar="TEXT", help="Send this again and again.")] = None
    heartbeat_every: Annotated[int, duration_option("How often --heartbeat is sent.", show_default="30s")] = 30_000
    beat: Annotated[str | None, typer.Option(metavar="TYPE", help="The server's heartbeat.")] = None
    beat_answer: Annotated[str | None, typer.Option(metavar="TEXT", help="What answers --beat.")] = None
    channel: Annotated[str | None, typer.Option(metavar="NAME", help="Topic of Phoenix, namespace of Socket.IO.")] = (
        None
    )
    hello: Annotated[
        str | None, typer.Option(metavar="JSON", help="What is given to connect or to join, such as a token.")
    ] = field(default=None, repr=False)

    def settings(self) -> ProtocolSettings:
        """Return all of it; raises ConfigError for what contradicts each other."""
        return ProtocolSettings(
            name=self.protocol,
            on_open=tuple(self.on_open or ()),
            greeting=self.greeting,
            type_key=self.type_key,
            id_key=self.id_key,
            data_key=self.data_key,
            heartbeat=self.heartbeat,
            heartbeat_every_s=self.heartbeat_every / 1000,
            beat=self.beat,
            beat_answer=self.beat_answer,
            channel=self.channel,
            hello=self.hello,
        )

"""The options that say what a server speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

import msgspec
import typer

from cli.settings import duration_option
from cli.spreading import OptionGroup
from wscore.errors import ConfigError
from wscore.foreign import ProtocolName, ProtocolSettings
from wscore.units import parse_duration_ms


class ProtocolOptions(OptionGroup, frozen=True, kw_only=True):
    """A protocol by name, and what is special about it."""

    TITLE: ClassVar = "Protocol"

    protocol: Annotated[ProtocolName, typer.Option(help="What the server speaks.")] = ProtocolName.AUTO
    on_open: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Send this first, on every connection (repeatable).")
    ] = None
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
    ] = None

    def settings(self, saved: Mapping[str, Any] | None = None) -> ProtocolSettings:
        """Return all of it, by what is given, else by what a saved profile says.

        Raises ConfigError for what contradicts each other.
        """
        plain, values = ProtocolOptions(), read_saved(saved or {})
        lacking = {name: value for name, value in values.items() if getattr(self, name) == getattr(plain, name)}
        return msgspec.structs.replace(self, **lacking)._settings()

    def over(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a profile would have saved of all of it: what is given, else what it has saved."""
        plain, merged = ProtocolOptions(), dict(saved)
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value != getattr(plain, name):
                written = f"{value}ms" if name == "heartbeat_every" else value
                merged[name.replace("_", "-")] = str(value) if name == "protocol" else written
        return merged

    def _settings(self) -> ProtocolSettings:
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


SAVED_FIELDS: Final = tuple(name.replace("_", "-") for name in ProtocolOptions.__struct_fields__)


def read_saved(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a saved profile says of a protocol as values of ProtocolOptions; raises ConfigError."""
    values: dict[str, Any] = {}
    for key in SAVED_FIELDS:
        value = table.get(key)
        if value is None:
            continue
        wants_list = key == "on-open"
        is_text = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if isinstance(value, str) and wants_list:
            value = [value]
        elif not (is_text if wants_list else isinstance(value, str)):
            raise ConfigError(key, "is not a list of texts" if wants_list else "is not text")
        values[key.replace("-", "_")] = _converted(key, value)
    return values


def _converted(key: str, value: Any) -> Any:
    try:
        if key == "protocol":
            return ProtocolName(value)
        return parse_duration_ms(value) if key == "heartbeat-every" else value
    except ValueError as error:
        raise ConfigError(key, str(error)) from None

"""Stages as people write them: `100:30s,500:1m` holds 100 connections for 30 s, then 500 for a minute."""

from __future__ import annotations

from typing import Final

from loadtest.wire import LoadStage
from wscore.errors import ConfigError
from wscore.units import parse_duration_ms

_MEND: Final = "write them as 100:30s,500:1m"


def parse_stages(text: str) -> tuple[LoadStage, ...]:
    """Read stages; raises ConfigError that names the one that is wrong."""
    return tuple(_stage(part.strip()) for part in text.split(","))


def _stage(part: str) -> LoadStage:
    count, separator, duration = part.partition(":")
    if not separator:
        raise ConfigError("--stages", f"{part!r} is not CONNECTIONS:DURATION", _MEND)
    try:
        milliseconds = parse_duration_ms(duration)
    except ValueError as error:
        raise ConfigError("--stages", str(error)) from None
    connections = int(count) if count.isascii() and count.isdecimal() and len(count) < 10 else 0
    if connections < 1:
        raise ConfigError("--stages", f"{count!r} is not a number of connections", _MEND)
    if milliseconds == 0:
        raise ConfigError("--stages", f"{part!r} lasts no time", _MEND)
    return LoadStage(connections, milliseconds / 1000)

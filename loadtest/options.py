"""What a scenario can be told, as Structs whose fields say enough for a command line to make options of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated, ClassVar, Final

import msgspec

CONNECTIONS_A_SECOND: Final = 500


class Unit(Enum):
    """What an option is written in."""

    COUNT = auto()
    PER_SECOND = auto()
    FACTOR = auto()
    DURATION = auto()  # ms
    TEXT = auto()
    FLAG = auto()


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its help, its unit, the least value, and what to show where the default is worked out.

    A flag has its name, so that it has no second one that turns it off.
    """

    help: str
    unit: Unit = Unit.COUNT
    least: float | None = None
    shown_default: str | None = None
    metavar: str = "N"
    name: str = ""


def count(help: str, *, least: int = 1) -> Option:
    """Return an option that is a whole number."""
    return Option(help, least=least)


def milliseconds(help: str, shown_default: str | None = None) -> Option:
    """Return an option that is a time in ms."""
    return Option(help, Unit.DURATION, shown_default=shown_default)


def per_second(help: str, shown_default: str) -> Option:
    """Return an option that is a rate."""
    return Option(help, Unit.PER_SECOND, 0.001, shown_default)


def flag(name: str, help: str) -> Option:
    """Return an option that is on when it is named."""
    return Option(help, Unit.FLAG, name=name)


RAMP: Final = milliseconds("Time to open the connections.", f"1s per {CONNECTIONS_A_SECOND} connections")
PAYLOAD: Final = count("Bytes of data in a message.", least=0)
PUBLISHERS: Final = count("Connections that publish, a session.")
DRAIN: Final = milliseconds("Wait for late arrivals after it.", "2s")


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How much of it, and for how long: by a rate over all connections, or with a pause after each reply."""

    TITLE: ClassVar = "Load"

    connections: Annotated[int, count("Connections to hold.")] = 100
    rate: Annotated[float | None, per_second("Pings a second in all (open model).", "1 per connection")] = None
    think: Annotated[int | None, milliseconds("Instead of a rate: pause after each reply (closed model).")] = None
    payload_bytes: Annotated[int, PAYLOAD] = 100
    ramp: Annotated[int | None, RAMP] = None
    duration: Annotated[int, milliseconds("What is measured; the ramp is not.", "10s")] = 10_000
    drain: Annotated[int, DRAIN] = 2_000
    stages: Annotated[
        str | None, Option("Hold so many for so long, such as 100:30s,500:1m.", Unit.TEXT, metavar="STAGES")
    ] = None


def ramp_s(given_ms: int | None, connections: int) -> float:
    """Return how long the ramp takes, in seconds."""
    return max(1.0, connections / CONNECTIONS_A_SECOND) if given_ms is None else given_ms / 1000

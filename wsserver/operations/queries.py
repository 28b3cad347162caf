"""What a process is asked, and what it answers: of itself, and never of the others.

They go between processes as JSON, so that the data of a message passes through as its sender wrote it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from wsserver.operations.problems import Problem
from wsserver.telemetry.metrics import Sample


class Readiness(msgspec.Struct, tag="health", frozen=True):
    """Whether it takes newcomers."""


class ReadinessAnswer(msgspec.Struct, tag="health", frozen=True):
    """It does, or else not now: it starts or ends, or does not reach what the processes share."""

    is_ready: bool


class Scrape(msgspec.Struct, tag="scrape", frozen=True):
    """What it has counted since its start."""


class ScrapeAnswer(msgspec.Struct, tag="scrape", frozen=True):
    """Every number as it is now, those of one name together."""

    samples: list[Sample]


class NotDone(msgspec.Struct, tag="notDone", frozen=True):
    """It was not done."""

    problem: Problem


Query = Readiness | Scrape
Answer = ReadinessAnswer | ScrapeAnswer | NotDone

encode: Final = msgspec.json.Encoder().encode
decode_answer: Final = msgspec.json.Decoder(Answer).decode

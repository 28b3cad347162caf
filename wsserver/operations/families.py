"""What a process has counted, as text already: whoever is scraped only puts the texts of several together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from msgspec import Struct

from wscore.exposition import END, OPENMETRICS, TEXT, heading, number_line
from wsserver.telemetry.metrics import Kind, Sample

WORKER: Final = "worker"
UP: Final = "wsctl_worker_up"


class MetricFamily(Struct, frozen=True, array_like=True):
    """All numbers of a name, or of one histogram: a line each."""

    name: str
    help: str
    kind: Kind
    lines: str


def families_of(samples: Iterable[Sample], worker: int | None) -> Iterator[MetricFamily]:
    """Yield the families of samples, of which those of one name come together; `worker` becomes a label."""
    own = () if worker is None else ((WORKER, str(worker)),)
    for name, found in groupby(samples, attrgetter("family")):
        same = tuple(found)
        lines = [number_line(sample.name, (*own, *sample.labels.items()), sample.value) for sample in same]
        yield MetricFamily(name, same[0].help, same[0].kind, "".join(lines))


def exposition(answers: Mapping[str, Sequence[MetricFamily]], missing: Iterable[str], accept: str) -> tuple[bytes, str]:
    """Return the text and its content type; `answers` are by the number of the worker, empty without workers.

    `missing` are the workers that did not answer, `accept` is what the client takes.
    """
    is_open = OPENMETRICS.partition(";")[0] in accept
    parts: dict[str, list[str]] = {}
    for families in answers.values():
        for family in families:
            lines = parts.get(family.name)
            if lines is None:
                # OpenMetrics has no suffix in the name of a counter.
                name = family.name.removesuffix("_total") if is_open else family.name
                lines = parts[family.name] = [heading(name, family.help, family.kind)]
            lines.append(family.lines)
    up = [number_line(UP, ((WORKER, worker),), 1) for worker in answers if worker]
    up += [number_line(UP, ((WORKER, name.removeprefix(f"{WORKER} ")),), 0) for name in missing]
    if up:
        parts[UP] = [heading(UP, "Whether a worker answers: 1 or 0", "gauge"), *up]
    text = "".join(line for lines in parts.values() for line in lines)
    return (text + END if is_open else text).encode(), OPENMETRICS if is_open else TEXT

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


def format_for(accept: str) -> str:
    """Return the content type for a client: OpenMetrics if it accepts that, else Prometheus' own text."""
    return OPENMETRICS if OPENMETRICS.partition(";")[0] in accept else TEXT


def exposition(answers: Mapping[str, Sequence[MetricFamily]], missing: Iterable[str], content_type: str) -> bytes:
    """Return the text, of the type of `format_for`; `answers` are by the number of the worker, empty without workers.

    `missing` are the workers that did not answer.
    """
    is_open = content_type == OPENMETRICS
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
    return (text + END if is_open else text).encode()

"""What a server said at one time, and what two of these times tell: rates by worker, and why connections ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from wsclient.top.exposition import Numbers
from wscore.operations import ConnectionsPage, RoomsPage

WORKER: Final = "worker"
ALONE: Final = ""  # the worker of a server that is one process


@dataclass(frozen=True, slots=True)
class ServerSample:
    """What was read; `at_s` is on a monotonic clock."""

    at_s: float
    numbers: Numbers
    rooms: RoomsPage
    connections: ConnectionsPage

    @property
    def missing(self) -> list[str]:
        """Processes that did not answer one of the questions."""
        return sorted({*self.rooms.missing, *self.connections.missing})


class WorkerLoad(Struct, frozen=True, rename="camel"):
    """A worker's load, or that of all: counts of now, and rates between two samples; None is not known."""

    name: str
    connections: int
    waiting_bytes: int
    slow_readers: int | None
    received_per_s: float | None = None
    delivered_per_s: float | None = None
    received_bytes_per_s: float | None = None
    delivered_bytes_per_s: float | None = None
    lag_ms: float | None = None


class Ending(Struct, frozen=True, rename="camel"):
    """Connections that ended in one way: how many since the server started, and since the sample before."""

    code: str
    disconnect: str
    total: int
    recent: int


class Overview(Struct, frozen=True, rename="camel"):
    """What two samples tell."""

    loads: list[WorkerLoad]
    total: WorkerLoad
    endings: list[Ending]
    dropped: int
    dropped_recent: int
    missing: list[str]


def overview(now: ServerSample, before: ServerSample | None) -> Overview:
    """Return what a sample tells; rates need the one before. A counter that fell is that of a worker's successor."""
    seconds = 0.0 if before is None else now.at_s - before.at_s
    old = {} if before is None else before.numbers
    workers = sorted({_worker(labels) for rows in now.numbers.values() for labels, _ in rows}, key=_by_number)
    loads = [_load(worker, now.numbers, old, seconds) for worker in workers]
    dropped = _total(now.numbers, "wsctl_messages_dropped_total")
    return Overview(
        loads,
        _together(loads),
        _endings(now.numbers, None if before is None else old),
        dropped,
        0 if before is None else max(0, dropped - _total(old, "wsctl_messages_dropped_total")),
        now.missing,
    )


def _load(worker: str, now: Numbers, old: Numbers, seconds: float) -> WorkerLoad:
    def gauge(name: str) -> int | None:
        found = [value for labels, value in now.get(name, ()) if _worker(labels) == worker]
        return int(sum(found)) if found else None

    def rate(name: str, direction: str | None = None) -> float | None:
        growth = _growth(now, old, name, worker, direction)
        return None if growth is None or seconds <= 0 else growth / seconds

    lag_s, timers = (_growth(now, old, f"wsctl_loop_lag_seconds_{part}", worker, None) for part in ("sum", "count"))
    return WorkerLoad(
        worker,
        gauge("wsctl_connections") or 0,
        gauge("wsctl_outbound_bytes") or 0,
        gauge("wsctl_slow_readers"),
        rate("wsctl_messages_total", "in"),
        rate("wsctl_deliveries_total"),
        rate("wsctl_message_bytes_total", "in"),
        rate("wsctl_delivery_bytes_total"),
        lag_s / timers * 1000 if lag_s is not None and timers else None,
    )


def _growth(now: Numbers, old: Numbers, name: str, worker: str, direction: str | None) -> float | None:
    """Return by how much a worker's counter has grown; None if it is not known for both times."""

    def total(numbers: Numbers) -> float | None:
        found = [
            value
            for labels, value in numbers.get(name, ())
            if _worker(labels) == worker and direction in (None, labels.get("direction"))
        ]
        return sum(found) if found else None

    last, first = total(now), total(old)
    if last is None or first is None:
        return None
    return last - first if last >= first else last


def _together(loads: list[WorkerLoad]) -> WorkerLoad:
    def added(name: str) -> float | None:
        values = [value for load in loads if (value := getattr(load, name)) is not None]
        return sum(values) if values else None

    lags = [load.lag_ms for load in loads if load.lag_ms is not None]
    slow_readers = added("slow_readers")
    return WorkerLoad(
        "all",
        sum(load.connections for load in loads),
        sum(load.waiting_bytes for load in loads),
        None if slow_readers is None else int(slow_readers),
        added("received_per_s"),
        added("delivered_per_s"),
        added("received_bytes_per_s"),
        added("delivered_bytes_per_s"),
        max(lags, default=None),
    )


def _endings(now: Numbers, old: Numbers | None) -> list[Ending]:
    totals = _ended(now)
    before = totals if old is None else _ended(old)
    found = [
        Ending(code, name, total, max(0, total - before[code, name])) for (code, name), total in totals.items() if total
    ]
    return sorted(found, key=lambda ending: (-ending.recent, -ending.total, ending.code, ending.disconnect))


def _ended(numbers: Numbers) -> Counter[tuple[str, str]]:
    ended: Counter[tuple[str, str]] = Counter()
    for labels, value in numbers.get("wsctl_connections_closed_total", ()):
        ended[labels.get("code", "?"), labels.get("disconnect", "?")] += int(value)
    return ended


def _total(numbers: Numbers, name: str) -> int:
    return int(sum(value for _, value in numbers.get(name, ())))


def _worker(labels: dict[str, str]) -> str:
    return labels.get(WORKER, ALONE)


def _by_number(worker: str) -> tuple[int, str]:
    return (int(worker) if worker.isdecimal() else -1, worker)

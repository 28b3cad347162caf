"""The clock of a run: the master's monotonic one, which a worker on another machine estimates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

EXCHANGES: Final = 20


@dataclass(frozen=True, slots=True)
class Offset:
    """What the clock of the run is ahead of this machine's, and by how much that may be wrong."""

    offset_ns: int = 0
    uncertainty_ns: int = 0


SAME: Final = Offset()


def machine_id() -> str:
    """Return what is equal for processes that share one monotonic clock."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def estimate(exchanges: list[tuple[int, int, int]]) -> Offset:
    """Return the offset that exchanges show: sent (this clock), answered (the run's clock), received (this clock).

    The quickest one says most: its answer was given some time between the two, so half of that is the uncertainty.
    """
    sent, answered, received = min(exchanges, key=lambda exchange: exchange[2] - exchange[0])
    return Offset(answered - (sent + received) // 2, (received - sent + 1) // 2)


def drifted(first: Offset, last: Offset) -> int:
    """Return the uncertainty in ns of using `first` for a run at whose end `last` was found."""
    return max(first.uncertainty_ns, last.uncertainty_ns) + abs(last.offset_ns - first.offset_ns)

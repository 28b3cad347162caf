"""Finds the highest load that holds: rise until a threshold breaks, bisect, confirm the knee twice.

Pure: whoever drives it runs a probe at `Search.level` and reports how it ended, until there is no next level. A level
that breaks is tried again at once and is broken when it breaks again, so that one hiccup of the machine does not end
the rise; the knee itself must hold every time. A probe that says nothing is tried again wherever it happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from wscore.errors import ConfigError
from wscore.units import format_figure

CONFIRMATIONS: Final = 2
MAX_PROBES: Final = 60  # noise could otherwise send it up and down for ever


class Outcome(Enum):
    """How a probe ended."""

    HELD = auto()
    BROKE = auto()
    INVALID = auto()  # the generator could not drive it
    UNTOLD = auto()  # there was too little to judge


class Stop(Enum):
    """Why the search did not go higher."""

    THRESHOLD = "threshold"
    GENERATOR = "generator"
    UNTOLD = "untold"
    CEILING = "ceiling"


@dataclass(frozen=True, slots=True)
class Probe:
    """One run at a level; `limits` names the thresholds that it missed, or the doubts about the generator."""

    level: int
    outcome: Outcome
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Knee:
    """The result: the highest level that held (0: none did), and the lowest that did not, if any.

    `limits` is what broke there. Where `stop` is not THRESHOLD, the target holds at least `level`.
    """

    level: int
    confirmed: int
    broken: int | None
    stop: Stop | None
    limits: tuple[str, ...]


_STOPS: Final = {
    Outcome.BROKE: Stop.THRESHOLD,
    Outcome.INVALID: Stop.GENERATOR,
    Outcome.UNTOLD: Stop.UNTOLD,
}


class _SearchPhase(Enum):
    RISE = auto()
    BISECT = auto()
    CONFIRM = auto()
    DONE = auto()


class Search:
    """Levels are whole numbers from 1 to `ceiling`; `step` None doubles. `tolerance` is a share of the level."""

    __slots__ = (
        "_broken",
        "_ceiling",
        "_confirmed",
        "_held",
        "_phase",
        "_step",
        "_suspect",
        "_tolerance",
        "level",
        "probes",
    )

    def __init__(self, start: int, ceiling: int, *, step: int | None = None, tolerance: float = 0.05) -> None:
        if not 1 <= start <= ceiling:
            raise ConfigError("--start", f"{start} is not between 1 and {ceiling}", "see --ceiling")
        if step is not None and step < 1:
            raise ConfigError("--step", f"{step} does not rise")
        if not 0 < tolerance < 1:
            raise ConfigError("--tolerance", f"{format_figure(tolerance)} is not between 0 and 1", "write 0.05 for 5 %")
        self.level: int | None = start
        self.probes: list[Probe] = []
        self._ceiling = ceiling
        self._step = step
        self._tolerance = tolerance
        self._phase = _SearchPhase.RISE
        self._held: set[int] = set()
        self._broken: Probe | None = None
        self._suspect: int | None = None
        self._confirmed = 0

    def report(self, outcome: Outcome, limits: tuple[str, ...] = ()) -> None:
        """Take the outcome of a probe at `level` and choose the next one."""
        assert self.level is not None
        probe = Probe(self.level, outcome, limits)
        self.probes.append(probe)
        if outcome is Outcome.HELD:
            self._on_held(probe.level)
        else:
            self._on_broken(probe)
        if self._phase is _SearchPhase.DONE or len(self.probes) >= MAX_PROBES:
            self.level = None

    @property
    def knee(self) -> Knee:
        """What is known so far."""
        broken = self._broken
        at_end = Stop.CEILING if self._ceiling in self._held else None
        stop = at_end if broken is None else _STOPS[broken.outcome]
        return Knee(
            self._highest,
            self._confirmed,
            broken.level if broken else None,
            stop,
            broken.limits if broken else (),
        )

    @property
    def _highest(self) -> int:
        return max(self._held, default=0)

    def _on_held(self, level: int) -> None:
        self._suspect = None
        if self._phase is _SearchPhase.CONFIRM:
            self._confirmed += 1
            if self._confirmed == CONFIRMATIONS:
                self._phase = _SearchPhase.DONE
            return
        self._held.add(level)
        if self._phase is _SearchPhase.BISECT:
            self._bisect()
        elif level == self._ceiling:
            self._confirm(level)
        else:
            self.level = min(self._ceiling, level * 2 if self._step is None else level + self._step)

    def _on_broken(self, probe: Probe) -> None:
        must_hold = self._phase is _SearchPhase.CONFIRM and probe.outcome is Outcome.BROKE
        if not must_hold and self._suspect != probe.level:
            self._suspect = probe.level
            return
        self._broken = probe
        self._held = {level for level in self._held if level < probe.level}
        self._confirmed = 0
        self._phase = _SearchPhase.BISECT
        self._bisect()

    def _bisect(self) -> None:
        assert self._broken is not None
        low, high = self._highest, self._broken.level
        if high - low > max(1, high * self._tolerance):
            self.level = (low + high) // 2
        elif low:
            self._confirm(low)
        else:
            self._phase = _SearchPhase.DONE

    def _confirm(self, level: int) -> None:
        self._phase = _SearchPhase.CONFIRM
        self.level = level

"""What people's own users do, measured like all load: connections, steps, their times and what became of them."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from typing import Final

from loadtest.generator.connections import LoadConnection, monotonic_ns
from loadtest.generator.dialing import Dialer
from loadtest.generator.latencies import LatencyRecorder
from loadtest.generator.messages import Part
from loadtest.generator.traffic import Traffic
from loadtest.wire import SERVICE, Plan, StepLedger

AWAITS: Final = frozenset(("REQUEST", "EXPECT"))  # steps that wait for a message
SENDS: Final = frozenset(("SEND", "REQUEST"))
MAX_STEPS: Final = 50  # that have a histogram of their own
OTHER_STEPS: Final = "other steps"


def step_of(kind: str, name: str) -> str:
    """Return what a step is called in reports."""
    return f"{kind.lower()} {name}"


class UserTraffic(Traffic):
    """The users of this process act by themselves, and tell what they did."""

    shown = SERVICE
    row = ""  # they are in Locust's table under the names of their steps

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        super().__init__(plan, dialer, position=position, processes=processes)
        self._steps: dict[str, StepLedger] = {}
        self._unanswered: defaultdict[int, list[int]] = defaultdict(list)  # when steps began that were lost
        self.marks = 0  # that came
        self._faults: defaultdict[int, Counter[str]] = defaultdict(Counter)

    @property
    def is_over(self) -> bool:
        """Whether the window has ended: whoever would do something now is to stop."""
        return monotonic_ns() >= self.window_end_ns

    def bring_back(self, connection: LoadConnection) -> None:
        pass  # its user does, before its next step

    def new_connection(self, slot: int, index: int) -> LoadConnection:
        raise NotImplementedError  # its users make them

    def step(self, kind: str, name: str, index: int, began_ns: int, problem: str | None) -> None:
        """Enter a step that has ended; one that began in the window counts."""
        now = monotonic_ns()
        counts, is_counted = self.counts, self.window_start_ns <= began_ns < self.window_end_ns
        if problem is not None:
            self.error(f"{step_of(kind, name)}: {problem}")
            counts.failed += kind == "CONNECT"
        if kind in SENDS and (problem is None or kind in AWAITS):
            counts.sent += 1
            counts.counted_sent += is_counted
        if kind not in AWAITS:
            return
        counts.received += problem is None
        if not is_counted:
            if problem is None:
                self.recorders[SERVICE].observe([now - began_ns])
            return
        step = self._step(step_of(kind, name))
        ledger = self._steps[step]
        ledger.expected += 1
        if problem is not None:
            ledger.lost += 1
            self._unanswered[index].append(began_ns)
            return
        counts.counted_received += 1
        self.recorders[SERVICE].record([now - began_ns])
        self._recorder(step).record([now - began_ns])

    def fault(self, name: str, index: int) -> None:
        """Note a reply that came to a connection as none should, by the name of that in the ledger."""
        if self.window_start_ns <= monotonic_ns():
            self._faults[index][name] += 1
            self.counts.fault(name)

    def came_late(self, index: int, sent_ns: int, step: str) -> None:
        """Note a reply to a request that was sent then, in that step, and given up: it is late, and not lost."""
        lost = self._unanswered[index]
        place = bisect_right(lost, sent_ns) - 1  # its step began just before, if that counts
        if place >= 0 and self.window_start_ns <= sent_ns < self.window_end_ns:
            del lost[place]
            self._steps[self._step(step)].lost -= 1
            self.counts.counted_received += 1
            self.fault("late", index)

    def _step(self, step: str) -> str:
        """Return the name under which a step is counted."""
        if step not in self._steps:
            if len(self._steps) >= MAX_STEPS:
                step = OTHER_STEPS
            self._steps.setdefault(step, StepLedger())
        return step

    def _recorder(self, step: str) -> LatencyRecorder:
        recorder = self.recorders.get(step)
        if recorder is None:
            recorder = self.recorders[step] = LatencyRecorder()
        return recorder

    def result(self, part: Part) -> None:
        part.unanswered = {index: [ns + self.offset_ns for ns in lost] for index, lost in self._unanswered.items()}
        part.steps = self._steps
        part.marks = self.marks
        part.replies_expected = sum(step.expected for step in self._steps.values())
        part.replies_received = part.replies_expected - sum(step.lost for step in self._steps.values())
        for index, faults in self._faults.items():
            part.add_faults(index, faults)

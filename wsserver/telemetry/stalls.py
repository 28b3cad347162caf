"""Says when the event loop stood still, for how long, and what ran meanwhile as far as that can be told."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

from wscore.heartbeat import loop_stalled
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

LOOK_S: Final = 0.2  # how often the thread looks, well below what counts as a stall
BUSY_SHARE: Final = 0.2  # of a stall: with less processor time than this the process did not run
MAX_FRAMES: Final = 5
_OWN: Final = ("asyncio.", "concurrent.", "threading", "wsserver.", "cli.")  # ends the walk out of an app's code

SUSPENDED: Final = "the machine was suspended"
STOPPED: Final = "the process did not run: it was stopped, or got no processor time"
LOCKED: Final = "code that holds the interpreter's lock ran: a regular expression or a native library, say"
BLOCKED: Final = "code ran on the event loop that did not give it back"


def running_code(frame: FrameType) -> str:
    """Return where a thread is, the innermost function first, as far out as the code is not the server's own."""
    return " < ".join(_functions(frame))


def _functions(frame: FrameType | None) -> Iterator[str]:
    for _ in range(MAX_FRAMES):
        if frame is None:
            return
        yield f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
        frame = frame.f_back
        if frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
            return


def _suspended_s() -> float:
    """Return for how long the machine was suspended since it started, which its monotonic clock leaves out."""
    if not hasattr(time, "CLOCK_BOOTTIME"):  # Linux has it
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class StallWatch:
    """Told by the heartbeat's tick when the next one is due; a thread looks at what runs while that is overdue.

    `start` is called on the loop's thread. No handler pays for it. `now_s` is the monotonic clock.
    """

    __slots__ = (
        "_cpu_s",
        "_due_s",
        "_lag",
        "_log",
        "_loop_thread",
        "_now_s",
        "_over",
        "_seen",
        "_stalls",
        "_suspended_s",
    )

    def __init__(self, log: EventLog, metrics: Metrics, now_s: Callable[[], float]) -> None:
        self._log = log
        self._stalls = metrics.stalls
        self._lag = metrics.loop_lag
        self._now_s = now_s
        self._over = threading.Event()

    def start(self, due_s: float) -> None:
        """Begin to look."""
        self._loop_thread = threading.get_ident()
        self._expect(due_s)
        threading.Thread(target=self._look, name="wsctl-stalls", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def tick(self, now_s: float, due_s: float) -> None:
        """Log whether the tick that was due came too late; the next one is due at `due_s`."""
        late_s = now_s - self._due_s
        self._lag.observe(max(0.0, late_s))
        suspended_s = _suspended_s() - self._suspended_s
        if loop_stalled(0, suspended_s * 1000):
            self._tell(suspended_s, SUSPENDED, "")
        if loop_stalled(0, late_s * 1000):
            seen = self._seen
            if seen:
                self._tell(late_s, BLOCKED, seen)
            else:  # the thread did not get to look either
                is_busy = time.process_time() - self._cpu_s > late_s * BUSY_SHARE
                self._tell(late_s, LOCKED if is_busy else STOPPED, "")
        self._expect(due_s)

    def _expect(self, due_s: float) -> None:
        self._seen = ""
        self._cpu_s = time.process_time()
        self._suspended_s = _suspended_s()
        self._due_s = due_s

    def _tell(self, seconds: float, problem: str, running: str) -> None:
        self._stalls.value += 1
        self._log.warning("server.stalled", seconds=round(seconds, 3), problem=problem, running=running)

    def _look(self) -> None:
        while True:
            asleep_since_s = self._now_s()
            if self._over.wait(LOOK_S):
                return
            now_s = self._now_s()
            if now_s - asleep_since_s > 2 * LOOK_S:
                continue  # this thread did not run either: what the other one is at now says nothing
            if now_s - self._due_s > LOOK_S and not self._seen:
                frame = sys._current_frames().get(self._loop_thread)
                if frame is not None:
                    self._seen = running_code(frame)

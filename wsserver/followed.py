"""Files that are read again when they change, so that keys can be exchanged without a restart."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from wscore.errors import ConfigError

LOOK_EVERY_S: Final = 1.0


class FollowedFiles:
    """Tells whether files are others than when they were looked at last; `now_s` is monotonic."""

    __slots__ = ("_looked_at_s", "_now_s", "_paths", "_seen")

    def __init__(self, paths: Sequence[Path], now_s: Callable[[], float]) -> None:
        self._paths = paths
        self._now_s = now_s
        self._looked_at_s = float("-inf")
        self._seen: list[tuple[int, ...]] | None = None

    @property
    def size(self) -> int:
        """How many bytes they had together at the last look."""
        return sum(state[2] for state in self._seen or ())

    def have_changed(self, *, at_once: bool = False) -> bool:
        """Look once a second at most, or `at_once`; the first look finds that they have changed.

        Raises OSError for one that is not there, and ConfigError for one that is no regular file: who opens a pipe
        waits for its writer, and everybody else with it. Then the next look finds a change. What is written while
        somebody reads the file counts as a change behind that.
        """
        now_s = self._now_s()
        if not at_once and now_s - self._looked_at_s < LOOK_EVERY_S:
            return False
        self._looked_at_s = now_s
        before, self._seen = self._seen, None
        states = [path.stat() for path in self._paths]
        for path, state in zip(self._paths, states, strict=True):
            if not stat.S_ISREG(state.st_mode):
                raise ConfigError(str(path), "is no regular file")
        self._seen = [(state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino) for state in states]
        return self._seen != before

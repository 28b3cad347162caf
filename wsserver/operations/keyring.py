"""The keys that open the operations port now: read again when their files change, so that one can be taken away."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from wscore.errors import ConfigError
from wscore.text import describe
from wsserver.followed import FollowedFiles
from wsserver.operations.accesskeys import AccessKey, digest_of
from wsserver.telemetry.logs import EventLog


class KeyRing:
    """The keys that `read` returns, which raises ConfigError, and returns them anew when one of `files` has changed.

    What cannot be read then changes nothing and is logged. `now_s` is monotonic.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[AccessKey]],
        files: Sequence[Path] = (),
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._files = FollowedFiles(files, now_s) if files else None
        self._problem: str | None = None  # what was logged last: a file that is gone is so for every look
        if self._files is not None:
            with suppress(OSError, ConfigError):  # `read` says which, and how
                self._files.have_changed()
        self._keys = _checked(read())

    def __len__(self) -> int:
        return len(self._keys)

    def look(self, log: EventLog, *, at_once: bool = False) -> None:
        """Read the keys anew if a file has changed since the last look: once a second at most, or `at_once`."""
        try:
            if self._files is None or not self._files.have_changed(at_once=at_once):
                return
            self._keys = _checked(self._read())
        except OSError as error:
            self._refuse(log, f"{error.filename}: {describe(error)}")
        except ConfigError as error:
            self._refuse(log, str(error))
        else:
            self._problem = None
            log.info("ops.keys_read", keys=len(self._keys))

    def whose(self, key: bytes) -> AccessKey | None:
        """Return which key it is; all are compared, in a time that says nothing about how much of one is right."""
        digest = digest_of(key)
        fitting = [known for known in self._keys if hmac.compare_digest(known.digest, digest)]
        return fitting[0] if fitting else None

    def _refuse(self, log: EventLog, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            log.warning("ops.keys_refused", problem=problem, keys_kept=len(self._keys))


def _checked(keys: Iterable[AccessKey]) -> tuple[AccessKey, ...]:
    """Return the keys; raises ConfigError for one that is there twice: nobody could tell whose it is."""
    found: dict[bytes, AccessKey] = {}
    for key in keys:
        if (before := found.setdefault(key.digest, key)) is not key:
            raise ConfigError("keys of the operations port", f"{before.name} and {key.name} have the same one")
    return tuple(found.values())

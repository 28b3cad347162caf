"""The JWKS file of a running server: read again when it changes, so that keys can be exchanged without a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from wscore.errors import ConfigError
from wscore.text import describe
from wscore.tokens import JwtKey
from wscore.units import format_size
from wsserver.followed import FollowedFiles
from wsserver.telemetry.logs import EventLog

MAX_BYTES: Final = 1 << 20


class JwksFile:
    """Keeps the keys of a `JwtKey` those of a file; a file that cannot be used changes nothing and is logged."""

    __slots__ = ("_file", "_key", "_log", "_path", "_problem")

    def __init__(self, path: Path, key: JwtKey, now_s: Callable[[], float], log: EventLog) -> None:
        self._path = path
        self._key = key
        self._file = FollowedFiles((path,), now_s)
        self._log = log
        self._problem: str | None = None  # what was logged last: a file that is gone is so for every look

    def look(self, *, at_once: bool = False) -> bool:
        """Read the file if it changed since the last look; returns whether the keys are new.

        Cheap enough for every connection: it looks once a second, or `at_once` when a token names an unknown key.
        """
        try:
            if not self._file.have_changed(at_once=at_once):
                return False
            if self._file.size > MAX_BYTES:
                raise ConfigError("--jwks-file", f"is larger than {format_size(MAX_BYTES)}")
            self._key.replace_jwks(self._path.read_bytes())
        except OSError as error:
            self._refuse(describe(error))
            return False
        except ConfigError as error:
            self._refuse(error.problem)
            return False
        self._problem = None
        self._log.info("jwks.read", file=str(self._path), keys=len(self._key))
        return True

    def _refuse(self, problem: str) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        self._log.warning("jwks.refused", file=str(self._path), problem=problem, keys_kept=len(self._key))

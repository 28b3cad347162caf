"""A Redis whose own wall clock a test sets while it runs, by libfaketime; its monotonic clock goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.redisserver import RedisServer

PACKAGE = "libfaketime"
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/opt/homebrew/lib")
_NEAR_S = 60


class JumpingRedis:
    """Start it by `start_redis`; `jump(3600)` sets its clock an hour ahead of this machine's, `jump(0)` back."""

    def __init__(self, start_redis: Callable[..., RedisServer], folder: Path, *options: str) -> None:
        library = next(
            (path for root in map(Path, _LIBRARIES) for path in root.glob("**/faketime/libfaketimeMT.so.1")), None
        )
        if library is None:
            pytest.skip(f"needs {PACKAGE}")
        self._offset = folder / "offset"
        self._write(0)
        environment = {
            # Before the allocator that Redis brings: that asks for the time while libfaketime asks it for memory.
            "LD_PRELOAD": f"{library}:libc.so.6",
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        try:
            self.server = start_redis(*options, environment=environment)
        except AssertionError:
            if "TEST_REDIS_SERVER" in os.environ:
                pytest.skip(f"{PACKAGE} does not go with this server")
            raise

    def jump(self, seconds: int) -> None:
        """Set the clock, and see that it is set."""
        self._write(seconds)
        with self.server.client as client:
            ahead_s = client.time()[0] - time.time()
        assert abs(ahead_s - seconds) < _NEAR_S

    def _write(self, seconds: int) -> None:
        written = self._offset.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        os.replace(written, self._offset)

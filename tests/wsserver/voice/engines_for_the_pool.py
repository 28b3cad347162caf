"""An engine that does what a test asks of it; worker processes import it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from wscore.errors import ConfigError
from wsserver.voice.stages import StageError


class Moody:
    """Its sessions remember what they were told; `trouble` names a way in which it fails to load."""

    def __init__(self, trouble: str = "", once: str = "") -> None:
        if trouble == "config" or (once and Path(once).exists()):
            raise ConfigError("--model", "no such model", "take another")
        if trouble == "import":
            import no_such_package  # noqa: F401
        if trouble == "error":
            raise ValueError("no such file: model.bin")
        if trouble == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "hang":
            time.sleep(60)

    def start(self) -> MoodySession:
        return MoodySession()


class MoodySession:
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def call(self, op: str, payload: bytes) -> bytes:
        match op:
            case "tell":
                self.heard.append(payload)
                return b" ".join(self.heard)
            case "pid":
                return str(os.getpid()).encode()
            case "niceness":
                return str(os.nice(0)).encode()
            case "sleep":
                time.sleep(float(payload))
            case "raise":
                raise ValueError(f"the caller said {payload!r}")
            case "refuse":
                raise StageError("moody", "not today")
            case "print":
                os.write(1, payload)
                sys.stdout.write(payload.decode())
                sys.stdout.flush()
            case "read":
                return os.read(0, 10)
            case "garbage":
                write_to_every_pipe(payload)
                time.sleep(60)
            case "exit":
                os._exit(3)
            case "large":
                return bytes(65 << 20)
        return b""

    def close(self) -> None:
        """Nothing is held."""


def write_to_every_pipe(data: bytes) -> None:
    """Be a library that writes where it should not: to the descriptors that it did not open."""
    for descriptor in range(3, 32):
        try:
            os.write(descriptor, data)
        except OSError:
            continue

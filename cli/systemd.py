"""What a service manager is told: ready, reloading, stopping, alive (sd_notify(3)); without one nothing happens."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress


class ServiceManager:
    """Sends states to the socket that `NOTIFY_SOCKET` names."""

    def __init__(self) -> None:
        self._path = os.environ.get("NOTIFY_SOCKET", "")
        watchdog_us = os.environ.get("WATCHDOG_USEC", "")
        is_ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_s = int(watchdog_us) / 1e6 if is_ours and watchdog_us.isascii() and watchdog_us.isdigit() else 0

    def ready(self) -> None:
        """Say that it serves."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that settings are read again, until `ready`."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Say that it ends."""
        self._tell("STOPPING=1")

    async def keep_alive(self) -> None:
        """Say that the event loop turns, twice as often as is asked for, until cancelled."""
        while self._path and self._watchdog_s > 0:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)

    def _tell(self, state: str) -> None:
        if not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.sendto(state.encode(), address)

"""The memory of the server, where it runs on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"


class ServerMemory:
    """Watches one process; `pid` None finds all that listen on the loopback `port`, if they can be seen."""

    def __init__(self, pid: int | None, port: int | None = None) -> None:
        self._port = port if pid is None else None
        self._pids = {pid} if pid is not None else _listeners(port)

    def kib(self) -> int | None:
        """Return the resident memory of all together in KiB; None if there is no such process."""
        sizes = [_kib(pid) for pid in self._pids]
        if None in sizes and self._port is not None:  # a worker ended, and another may have taken its place
            self._pids = _listeners(self._port)
            sizes = [_kib(pid) for pid in self._pids]
        known = [size for size in sizes if size is not None]
        return sum(known) if known else None


def _kib(pid: int) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 1024
    return None


def _listeners(port: int | None) -> set[int]:
    """Return the processes that listen on a port: the sockets' inodes are in the one table, their owners in another."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    pids: set[int] = set()
    if not inodes:
        return pids
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in os.listdir(process / "fd"):
                with suppress(OSError):
                    if os.readlink(process / "fd" / descriptor) in inodes:
                        pids.add(int(process.name))
    return pids

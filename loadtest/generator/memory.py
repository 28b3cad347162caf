"""The memory of the server, where it runs on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"


class ServerMemory:
    """Watches one process; `pid` None finds the one that listens on the loopback `port`, if it can be seen."""

    def __init__(self, pid: int | None, port: int | None = None) -> None:
        self._pid = pid if pid is not None or port is None else _listener(port)

    def kib(self) -> int | None:
        """Return its resident memory in KiB; None if there is no such process."""
        if self._pid is None:
            return None
        with suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{self._pid}/statm").read_text("ascii").split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") // 1024
        return None


def _listener(port: int) -> int | None:
    """Return the process that listens on a port: the socket's inode is in the one table, its owner in another."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in os.listdir(process / "fd"):
                with suppress(OSError):
                    if os.readlink(process / "fd" / descriptor) in inodes:
                        return int(process.name)
    return None

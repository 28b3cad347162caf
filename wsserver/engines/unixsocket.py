"""A Unix socket's file: its mode, one that a dead server left behind, and one that a living server still uses."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress


class UnixSocketFile:
    """The file that `listening` is bound to."""

    __slots__ = ("_identity", "_path", "listening")

    def __init__(self, path: str, mode: int, backlog: int) -> None:
        """Listen on `path`, whose file has `mode` before anybody can connect; raises OSError.

        The file of a server that is gone is replaced; anything else at `path` stays where it is.
        """
        if _is_stale(path):
            os.unlink(path)
        self._path = path
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with suppress(OSError):  # macOS has none of it
                # Linux takes the file's mode from here, less the umask: never wider than asked for, not even at first.
                os.fchmod(self.listening.fileno(), mode)
            self.listening.bind(path)
            os.chmod(path, mode)
            self._identity = _identity(path)
            self.listening.listen(backlog)
        except BaseException:
            self.listening.close()
            raise

    def unlink(self) -> None:
        """Remove the file, unless it is another's by now."""
        with suppress(OSError):
            if _identity(self._path) == self._identity:
                os.unlink(self._path)


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _is_stale(path: str) -> bool:
    """Tell whether a socket is at `path` that nobody listens on."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full queue is a sign of life, and no reason to wait
        return probe.connect_ex(path) == errno.ECONNREFUSED

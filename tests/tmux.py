"""A real terminal: tmux, with a server of its own, driven by keys and read as text or with its colours."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

HANG_S: Final = 30


class Tmux:
    """One terminal of its own tmux server; `end` ends it with all that runs there."""

    def __init__(self, directory: Path, columns: int, lines: int) -> None:
        self._socket = f"wsctl-{uuid.uuid4().hex}"
        self._run("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines), "-c", str(directory))

    def _run(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._socket, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=True).stdout

    def keys(self, *keys: str) -> None:
        """Press keys, as tmux names them."""
        self._run("send-keys", *keys)

    def write(self, text: str) -> None:
        """Type a text."""
        self._run("send-keys", "-l", text)

    def screen(self) -> str:
        """Return what stands there."""
        return self._run("capture-pane", "-p")

    def coloured(self) -> str:
        """Return what stands there with the escape sequences of its colours, and the blanks at the ends of lines."""
        return self._run("capture-pane", "-p", "-e", "-N")

    def wait_until(self, holds: Callable[[str], bool], what: object) -> str:
        """Wait until something holds of what stands there, and return that."""
        deadline = time.monotonic() + HANG_S
        while not holds(screen := self.screen()):
            assert time.monotonic() < deadline, f"{what} not in:\n{screen}"
            time.sleep(0.05)
        return screen

    def wait_for(self, *texts: str) -> str:
        """Wait until all texts stand there, and return the whole."""
        return self.wait_until(lambda screen: all(text in screen for text in texts), texts)

    def end(self) -> None:
        """End it."""
        self._run("kill-server")

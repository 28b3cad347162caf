"""The clipboard of the system, by the programs that have it; a terminal does not tell whether it took anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Final

TIMEOUT_S: Final = 3.0
# Which program copies, and the variable without which it cannot.
PROGRAMS: Final = (
    (("wl-copy",), "WAYLAND_DISPLAY"),
    (("xclip", "-selection", "clipboard"), "DISPLAY"),
    (("xsel", "--clipboard", "--input"), "DISPLAY"),
    (("pbcopy",), ""),
    (("tmux", "load-buffer", "-w", "-"), "TMUX"),
)


def copy(text: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Copy with the first program that can; returns its name, None if there is none that did."""
    for (program, *options), needed in PROGRAMS:
        found = shutil.which(program, path=environment.get("PATH"))
        if found is None or (needed and not environment.get(needed)):
            continue
        try:
            # Not waiting for its output: xclip leaves a process behind that holds it open.
            subprocess.run(  # noqa: S603
                [found, *options],
                input=text.encode(errors="surrogateescape"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                timeout=TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
        return "tmux buffer" if program == "tmux" else program
    return None

"""When the garbage collector works: not while a command loads, and never over what was loaded.

What modules make stays as long as the process, so looking through it again and again is a tenth of the start, and
a pause of many milliseconds whenever a server does it later.
"""

from __future__ import annotations

import gc


def rest() -> None:
    """Let it rest while modules are loaded and a screen is built."""
    gc.disable()


def work() -> None:
    """Let it work from now on, on what is made from now on."""
    gc.freeze()
    gc.enable()

"""Gives memory back to the system, which the C library otherwise keeps for later."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Return freed memory to the system, where the C library is glibc; it takes milliseconds.

    glibc keeps what was freed below something that is still in use, and after one large buffer was freed it takes
    the next ones from its heap as well: without this a server would stay as large as its worst moment.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], object] | None:
    import ctypes  # here, since few servers ever need it

    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or none to ask
        return None
    return trim

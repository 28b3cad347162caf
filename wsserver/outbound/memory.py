"""Memory that is held is counted; what was freed goes back to the system, which the C library keeps otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final

_PAGE_BYTES: Final = 4096
_DONT_NEED: Final = 4  # MADV_DONTNEED


class Held:
    """Bytes that are held: how many are `used`, and how many were at the `peak`; a subclass has the slots for both."""

    if not TYPE_CHECKING:  # which would take them for all that there are
        __slots__ = ()

    used: int
    peak: int

    @property
    def fallen(self) -> int:
        """How many were freed since the peak, and are not in use again."""
        return self.peak - self.used

    def rise(self, size: int) -> None:
        """Note that so many bytes more are held, or fewer."""
        self.used += size
        if self.used > self.peak:
            self.peak = self.used

    def settle(self) -> None:
        """Let what is used now be the peak."""
        self.peak = self.used


def give_back() -> None:
    """Return freed memory to the system, where the C library is glibc; it takes milliseconds.

    glibc keeps what was freed below something that is still in use, and after one large buffer was freed it takes
    the next ones from its heap as well: without this a server would stay as large as its worst moment.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def give_back_pages(unused: memoryview) -> None:
    """Return the pages of a part of a buffer to the system, on Linux: it stays usable, and is zero.

    This is for buffers of others, which only grow.
    """
    advise = _madvise()
    if advise is None or len(unused) < 2 * _PAGE_BYTES:
        return
    import ctypes

    start = ctypes.addressof(ctypes.c_char.from_buffer(unused))
    first = -(-start // _PAGE_BYTES) * _PAGE_BYTES
    last = (start + len(unused)) // _PAGE_BYTES * _PAGE_BYTES
    advise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _DONT_NEED)


@cache
def _madvise() -> Callable[..., object] | None:
    import ctypes
    import resource

    if sys.platform != "linux" or resource.getpagesize() != _PAGE_BYTES:
        return None
    advise: Callable[..., object] = ctypes.CDLL(None).madvise
    return advise


@cache
def _malloc_trim() -> Callable[[int], object] | None:
    import ctypes  # here, since few servers ever need it

    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or none to ask
        return None
    return trim

"""Durations and sizes as people write them (`500ms 25s 1h`, `64KiB 1MiB`), and figures as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_DURATION_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_QUANTITY = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-z]+)")


def parse_duration_ms(text: str) -> int:
    """Read a duration such as `500ms`, `25s`, `1.5m`, `1h`, `7d`; raises ValueError with the mend."""
    return _parse(text, _DURATION_MS, "a duration is a number with ms, s, m, h or d, such as 500ms or 25s")


def parse_size_bytes(text: str) -> int:
    """Read a size such as `512B`, `64KiB`, `1MiB`; raises ValueError with the mend."""
    return _parse(text, _SIZE_BYTES, "a size is a number with B, KiB, MiB or GiB, such as 64KiB")


def _parse(text: str, units: dict[str, int], mend: str) -> int:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r}: {mend}")
    return round(float(match[1]) * units[match[2]])


def format_duration(ms: int) -> str:
    """Return the shortest exact form of `ms`, such as `25s` or `1500ms`."""
    return _format(ms, _DURATION_MS)


def format_size(size: int) -> str:
    """Return the shortest exact binary form of `size` bytes, such as `64KiB`."""
    return _format(size, {unit: factor for unit, factor in _SIZE_BYTES.items() if unit == "B" or "i" in unit})


def format_figure(value: float, digits: int = 3) -> str:
    """Return a figure with as many digits as matter, all those before the point included: `1,904`, `0.0123`, `2.5`.

    Never as a power of ten, which nobody reads at a glance.
    """
    if not math.isfinite(value):
        return str(value)
    places = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    text = f"{value:,.{max(0, places)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_age(ms: int) -> str:
    """Return an age in its two largest units and at most six characters: `59s`, `3m12s`, `5h03m`, `12d04h`, `120d`.

    One below 0, as clocks of two machines may tell, is `0s`.
    """
    seconds = max(0, ms) // 1000
    for (unit, size), (below, size_below) in pairwise((("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))):
        if seconds >= size:
            whole = f"{seconds // size}{unit}"
            return whole if len(whole) > 3 else f"{whole}{seconds % size // size_below:02}{below}"
    return f"{seconds}s"


def counted_noun(number: int, noun: str) -> str:
    """Return `1 session`, `2,000 sessions`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def join_words(words: Sequence[str], last: str = "or") -> str:
    """Return `a, b or c`."""
    return f" {last} ".join([*filter(None, [", ".join(words[:-1])]), *words[-1:]])


def _format(value: int, units: dict[str, int]) -> str:
    unit = max(
        (unit for unit in units if value % units[unit] == 0 and value >= units[unit]),
        key=units.__getitem__,
        default=next(iter(units)),
    )
    return f"{value // units[unit]}{unit}"

"""Reads Prometheus' text format, as an operations port writes it (exposition format 0.0.4)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_LINE: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\S+)?\s*")
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")


_MOST: Final = 2.0**63  # no counter is beyond it, and each number can be shown


class Number(NamedTuple):
    """A number with its labels."""

    labels: dict[str, str]
    value: float


Numbers = dict[str, list[Number]]


def parse_exposition(text: str) -> Numbers:
    """Return the numbers by name; a line that is none is left out, and one without an end."""
    found: Numbers = {}
    for line in text.splitlines():
        match = None if line.startswith("#") else _LINE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if not abs(value) < _MOST:  # NaN is not, either
            continue
        labels = {label[1]: _ESCAPE.sub(_unescaped, label[2]) for label in _LABEL.finditer(match[2] or "")}
        found.setdefault(match[1], []).append(Number(labels, value))
    return found


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]

"""JSON over several lines among lines of input: what `jq .` writes is one message."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from wscore.envelope import InvalidMessageError
from wscore.foreign import Frame

MAX_BYTES: Final = 64 << 20  # as much as a line may have

# The first line of a value that goes on: brackets, then something of JSON, cut off where JSON can be.
_BEGINNING: Final = re.compile(r'\s*[\[{](?:[\s\[{]*|\s*["\[{\d\-tfn].*[,:\[{]\s*)', re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_MEND: Final = "; write each value on one line, or send every line as it is with --raw"


@dataclass(frozen=True, slots=True)
class Line:
    """What one message is made of: the lines from `first` to `last`, counted from 1."""

    first: int
    last: int
    text: Frame

    @property
    def is_spanning(self) -> bool:
        """Whether it is more than a line."""
        return self.first != self.last

    def place(self, noun: str) -> str:
        """Return where it stands."""
        return f"{noun}s {self.first} to {self.last}" if self.is_spanning else f"{noun} {self.first}"

    def check(self, text: str) -> None:
        """Raise InvalidMessageError if several lines, with their variables filled in, are not one value of JSON."""
        if not self.is_spanning:
            return
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            line = self.first + text.count("\n", 0, error.pos)
            why = f"it is no JSON: line {line}, column {error.colno}: {error.msg}"
            raise InvalidMessageError(why + _MEND) from None
        except (RecursionError, ValueError):
            raise InvalidMessageError(f"it is no JSON that can be read: nested too deep{_MEND}") from None


async def single(lines: AsyncIterator[Frame]) -> AsyncIterator[Line]:
    """Yield lines with their numbers, each by itself."""
    number = 0
    async for text in lines:
        number += 1
        yield Line(number, number, text)


async def joined(lines: AsyncIterator[Frame]) -> AsyncIterator[Line]:
    """Yield lines with their numbers, those of a JSON value as one.

    A value that does not end is one until an empty line, the end of the input, or 64 MiB.
    """
    held: list[str] = []
    first = last = depth = size = 0
    async for line in single(lines):
        text = line.text
        if not isinstance(text, str) or not (held or _BEGINNING.fullmatch(text)):
            yield line
            continue
        rise = _rise(text)
        if not held and rise <= 0:
            yield line
            continue
        first, last = (first if held else line.first), line.last
        held.append(text)
        depth += rise
        size += len(text)
        if depth <= 0 or not text.strip() or size > MAX_BYTES:
            yield Line(first, last, "\n".join(held))
            held, depth, size = [], 0, 0
    if held:
        yield Line(first, last, "\n".join(held))


def _rise(line: str) -> int:
    """Return how many brackets stay open behind a line; a string of JSON has no end of a line in it."""
    bare = _STRING.sub("", line)
    return sum(map(bare.count, "{[")) - sum(map(bare.count, "}]"))

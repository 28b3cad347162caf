"""A stream of text cut into sentences, so that the first one is spoken while the rest is still being written."""

from __future__ import annotations

import re
from typing import Final

MAX_SENTENCE_CHARS: Final = 240

# One or more marks, what closes after them, then white space and the character that decides (it may not be here yet).
_END: Final = re.compile(r"(?P<marks>[.!?…]+)[\"'”’)\]]*\s+(?=(?P<next>\S))|[。！？]+|\n\s*(?=\S)")
_WORD: Final = re.compile(r"[\w.]*$")
_LIST_NUMBER: Final = re.compile(r"\s*\(?\d{1,3}$")
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
# After these a sentence always goes on; after the others only before a small letter.
_NEVER_LAST: Final = frozenset(("mr", "mrs", "ms", "dr", "prof", "st", "mt", "gen", "col", "sgt", "capt", "rev")) | {
    *("vs", "e.g", "i.e", "cf", "approx", "no", "vol", "fig", "hon")
}
_MAY_BE_LAST: Final = frozenset(("a.m", "p.m", "etc", "inc", "ltd", "co", "corp", "jr", "sr", "u.s", "u.k"))
_PAUSE: Final = re.compile(r"[,;:–—]\s+")


class SentenceSplitter:
    """Takes text piece by piece and gives out the sentences that are complete, without the space around them.

    No sentence is longer than MAX_SENTENCE_CHARS, and the splitter never holds more than that plus one piece:
    a longer one is cut at its last comma, else between words, else anywhere. Nothing but white space is lost.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, piece: str) -> list[str]:
        """Take more text; returns the sentences that it completes."""
        self._rest = (self._rest + piece).lstrip()
        found = []
        while (end := _first_end(self._rest)) is not None or len(self._rest) > MAX_SENTENCE_CHARS:
            found.append(self._take(end))
        return found

    def finish(self) -> list[str]:
        """Return what is left when the text is over."""
        rest, self._rest = self._rest.strip(), ""
        return [rest] if rest else []

    def _take(self, end: int | None) -> str:
        if end is None or end > MAX_SENTENCE_CHARS:
            end = _pause(self._rest)
        sentence, self._rest = self._rest[:end].rstrip(), self._rest[end:].lstrip()
        return sentence


def _first_end(text: str) -> int | None:
    for match in _END.finditer(text, 0, MAX_SENTENCE_CHARS + 1):
        if not match["marks"] or _is_end(text[: match.start()], match["marks"], match["next"]):
            return match.end()
    return None


def _is_end(before: str, marks: str, following: str) -> bool:
    if following.islower():
        return False
    if marks != ".":
        return True
    word = _WORD.search(before)
    assert word is not None  # it may match nothing, but it always matches
    last = word[0].lower()
    if last in _NEVER_LAST or _LIST_NUMBER.fullmatch(before):
        return False
    return last in _MAY_BE_LAST or last == "i" or not _INITIALS.fullmatch(last)


def _pause(text: str) -> int:
    """Return where to cut a sentence that is too long."""
    pauses = [match.end() for match in _PAUSE.finditer(text, 0, MAX_SENTENCE_CHARS)]
    if pauses:
        return pauses[-1]
    space = text.rfind(" ", 0, MAX_SENTENCE_CHARS + 1)
    return space if space > 0 else MAX_SENTENCE_CHARS

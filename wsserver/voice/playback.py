"""How much of an answer the caller has heard, worked out by the clock: what was sent, when, and what it said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# What a sentence is assumed to last while it is still being synthesised: about 150 words a minute.
_MS_PER_CHAR: Final = 65.0


@dataclass(slots=True)
class _Sentence:
    text: str
    start_ms: float
    end_ms: float | None = None  # not before its synthesis is done


class Playback:
    """One answer at its listener, who plays what comes at once and waits when nothing is there.

    Times are ms of the answer's audio; `now_s` is the monotonic clock.
    """

    __slots__ = ("_ends_at_s", "_now_s", "_sentences", "sent_ms")

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._ends_at_s = 0.0
        self._sentences: list[_Sentence] = []
        self.sent_ms = 0.0

    def sentence(self, text: str, start_ms: float) -> None:
        """Note that the answer's audio from `start_ms` on says `text`."""
        self._sentences.append(_Sentence(text, start_ms))

    def sentence_done(self, end_ms: float) -> None:
        """Note where the last sentence ends."""
        self._sentences[-1].end_ms = end_ms

    def sent(self, duration_ms: float) -> None:
        """Note that so much audio went out now."""
        self._ends_at_s = max(self._ends_at_s, self._now_s()) + duration_ms / 1000
        self.sent_ms += duration_ms

    def left_ms(self) -> float:
        """Return how much of what was sent is not played yet."""
        return max(0.0, (self._ends_at_s - self._now_s()) * 1000)

    def played_ms(self, claimed_ms: int | None = None) -> int:
        """Return how much was played; the listener's own figure counts as far as it was sent."""
        if claimed_ms is None:
            return round(max(0.0, self.sent_ms - self.left_ms()))
        return round(min(max(0, claimed_ms), self.sent_ms))

    def spoken(self, played_ms: float) -> str:
        """Return the sentences that `played_ms` of the answer said, of the last one its share of words."""
        heard = []
        for sentence in self._sentences:
            if played_ms <= sentence.start_ms:
                break
            end_ms = sentence.end_ms
            if end_ms is None:
                end_ms = max(self.sent_ms, sentence.start_ms + len(sentence.text) * _MS_PER_CHAR)
            share = (
                (played_ms - sentence.start_ms) / (end_ms - sentence.start_ms) if end_ms > sentence.start_ms else 1.0
            )
            words = sentence.text.split()
            # A rounding error in the last sample is no unheard word.
            heard += words if share > 0.999 else words[: int(len(words) * share)]
        return " ".join(heard)

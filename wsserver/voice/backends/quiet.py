"""Whether the audio so far ends quietly, by loudness alone: a guess that the caller is done, before the turn ends."""

from __future__ import annotations

import math
import sys
from array import array
from typing import Final

from wscore.audio import DEFAULT_FORMAT

QUIET_MS: Final = 200
_FRAME_MS: Final = 20
_FRAME_BYTES: Final = DEFAULT_FORMAT.size_bytes(_FRAME_MS)
_STEP: Final = 8  # samples; loudness needs no more of them, and speech has most of its energy below 1 kHz
_FLOOR: Final = 30.0  # of 32,767: rounding and the hiss of a good microphone
# Between the loud and the silent frames of speech lie 20 dB and more; where there are not even these 12, nothing in
# the audio counts as quiet.
_CONTRAST: Final = 4.0


class QuietTail:
    """Learns from an utterance itself how loud its speech is and how loud its pauses are."""

    __slots__ = ("_bytes", "_levels", "_rest")

    def __init__(self) -> None:
        self._levels: list[float] = []
        self._rest = b""
        self._bytes = 0

    def feed(self, pcm: bytes) -> None:
        """Take more audio, whole samples."""
        self._bytes += len(pcm)
        audio = self._rest + pcm
        whole = len(audio) // _FRAME_BYTES * _FRAME_BYTES
        for start in range(0, whole, _FRAME_BYTES):
            self._levels.append(_level(audio[start : start + _FRAME_BYTES]))
        self._rest = audio[whole:]

    @property
    def is_quiet(self) -> bool:
        """Whether nothing loud came for 200 ms, after something loud."""
        return self._bytes >= self.settled_bytes > DEFAULT_FORMAT.size_bytes(QUIET_MS)

    @property
    def settled_bytes(self) -> int:
        """How much audio it takes to hear the last loud moment and 200 ms of quiet after it."""
        return self._loud_bytes() + DEFAULT_FORMAT.size_bytes(QUIET_MS)

    def _loud_bytes(self) -> int:
        """Return where the last loud frame ends."""
        if not self._levels:
            return 0
        ordered = sorted(self._levels)
        quiet = max(ordered[len(ordered) // 10], _FLOOR)
        loud = ordered[len(ordered) * 9 // 10]
        if loud < quiet * _CONTRAST:
            return self._bytes
        threshold = math.sqrt(quiet * loud)
        last = max(index for index, level in enumerate(self._levels) if level >= threshold)
        return (last + 1) * _FRAME_BYTES


def _level(frame: bytes) -> float:
    samples = array("h", frame)
    if sys.byteorder == "big":
        samples.byteswap()
    samples = samples[::_STEP]
    mean = sum(samples) / len(samples)  # a microphone's direct current is not loud
    return math.sqrt(sum((sample - mean) ** 2 for sample in samples) / len(samples))

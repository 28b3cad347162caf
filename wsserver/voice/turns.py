"""When a turn begins and ends: from the probability of speech in each frame, by the position in the audio alone.

Listening calls it; it knows no clock, no event loop and no connection.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wsserver.voice.settings import TurnPolicy

# The detector's own recommendation: speech begins at one half, and has not ended while it is a little less.
ONSET_PROBABILITY: Final = 0.5
OFFSET_PROBABILITY: Final = 0.35
# A click or a cough is shorter; the shortest word is not.
ONSET_MS: Final = 90
# The stops within words are shorter; speech that goes on after one has not paused.
DIP_MS: Final = 100


class EndReason(StrEnum):
    """Why a turn ended."""

    SILENCE = "silence"
    MAX_LENGTH = "max_length"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A turn begins with this audio: what was heard of its speech, and some of what preceded it."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class TurnAudio:
    """The turn goes on with this audio."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class SpeechHeard:
    """There is speech in this frame; it has gone on for so long, short dips included."""

    duration_ms: float


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The turn is over; its last `silence_ms` had no speech."""

    reason: EndReason
    silence_ms: float


TurnEvent = TurnStarted | TurnAudio | SpeechHeard | TurnEnded


class TurnDetector:
    """Takes frames of one caller's audio, each with its probability of speech."""

    __slots__ = (
        "_before",
        "_frame_ms",
        "_in_turn",
        "_onset_frames",
        "_policy",
        "_run_ms",
        "_silence_ms",
        "_turn_ms",
    )

    def __init__(self, policy: TurnPolicy, frame_ms: float) -> None:
        self._policy = policy
        self._frame_ms = frame_ms
        self._onset_frames = math.ceil(ONSET_MS / frame_ms)
        self._before = deque[bytes](maxlen=math.ceil(policy.prefix_ms / frame_ms) + self._onset_frames)
        self._in_turn = False
        self._run_ms = 0.0
        self._silence_ms = 0.0
        self._turn_ms = 0.0

    @property
    def in_turn(self) -> bool:
        """Whether a turn has begun and not ended."""
        return self._in_turn

    def feed(self, frame: bytes, probability: float) -> list[TurnEvent]:
        """Take the next frame; returns what follows from it, in order."""
        is_speech = self._hear(probability)
        events: list[TurnEvent] = []
        if self._in_turn:
            events.append(TurnAudio(frame))
        else:
            self._before.append(frame)
            if not is_speech or self._run_ms < self._onset_frames * self._frame_ms:
                return []
            events.append(TurnStarted(self._take_before()))
        if is_speech:
            events.append(SpeechHeard(self._run_ms))
        self._turn_ms += self._frame_ms
        if self._silence_ms >= self._policy.end_silence_ms:
            events += self._end(EndReason.SILENCE)
        elif self._turn_ms >= self._policy.max_turn_ms:
            events += self._end(EndReason.MAX_LENGTH)
        return events

    def end(self) -> list[TurnEvent]:
        """End the turn, if there is one, because the audio ends here; what comes next has no past."""
        events = self._end(EndReason.CLOSED) if self._in_turn else []
        self._before.clear()
        self._reset()
        return events

    def _hear(self, probability: float) -> bool:
        """Count speech and silence; returns whether the frame is speech."""
        goes_on = self._run_ms > 0 and self._silence_ms == 0
        if probability >= (OFFSET_PROBABILITY if goes_on else ONSET_PROBABILITY):
            self._run_ms += self._frame_ms + (self._silence_ms if self._run_ms else 0.0)  # a dip counts once it is over
            self._silence_ms = 0.0
            return True
        self._silence_ms += self._frame_ms
        if not self._in_turn or self._silence_ms >= DIP_MS:
            self._run_ms = 0.0
        return False

    def _take_before(self) -> bytes:
        self._in_turn = True
        self._turn_ms = self._frame_ms * (len(self._before) - 1)
        audio = b"".join(self._before)
        self._before.clear()
        return audio

    def _end(self, reason: EndReason) -> list[TurnEvent]:
        silence_ms, run_ms = self._silence_ms, self._run_ms
        self._reset()
        # Who speaks on past the longest turn is in the next one at once: no onset is waited for.
        if reason is EndReason.MAX_LENGTH and silence_ms == 0:
            self._run_ms = run_ms
        return [TurnEnded(reason, silence_ms)]

    def _reset(self) -> None:
        self._in_turn = False
        self._run_ms = 0.0
        self._silence_ms = 0.0
        self._turn_ms = 0.0

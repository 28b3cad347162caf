"""The stages of the voice pipeline as protocols; a backend implements one and knows nothing of connections.

All audio between stages is pcm16, 16 kHz, mono, except that a synthesizer names its own rate.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from wscore.errors import WsctlError


class StageError(WsctlError):
    """A backend failed at its work: it timed out, crashed or answered nonsense.

    `stage` names the backend, `problem` says what went wrong; neither holds a secret or what a caller said.
    """

    def __init__(self, stage: str, problem: str) -> None:
        super().__init__(stage, problem)
        self.stage = stage
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.stage}: {self.problem}"


class Role(StrEnum):
    """Who said something in a conversation."""

    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Said:
    """One entry of a conversation's history."""

    role: Role
    text: str


class PipelineStage(Protocol):
    """What all backends share. `name` is shown to people; `open` and `close` frame the server's life."""

    @property
    def name(self) -> str:
        """The backend's name, as the options of the command line write it."""

    async def open(self) -> None:
        """Load models, start workers; raises ConfigError when it cannot work here at all."""

    async def close(self) -> None:
        """Release everything; work that is still under way fails with StageError."""


class Activity(Protocol):
    """One caller's voice activity detection; it remembers what it heard before."""

    async def feed(self, pcm: bytes) -> Sequence[float]:
        """Take audio of any length; returns the probability of speech of each frame that is now complete.

        Raises StageError.
        """

    async def close(self) -> None:
        """Forget the caller; may be called more than once."""


class ActivityDetector(PipelineStage, Protocol):
    """Tells speech from silence, noise and music, in frames of `frame_bytes`."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, whole samples."""

    async def start(self) -> Activity:
        """Begin with a caller; raises StageError."""


class Recognition(Protocol):
    """One utterance on its way to text."""

    async def feed(self, pcm: bytes) -> str | None:
        """Take more audio; returns a new partial text when there is one. Raises StageError."""

    async def finish(self) -> str:
        """Return the final text, empty when nothing was understood. Raises StageError."""

    async def close(self) -> None:
        """Give the utterance up; harmless after `finish`, and more than once."""


class Recognizer(PipelineStage, Protocol):
    """Turns speech into text while it is spoken."""

    async def start(self) -> Recognition:
        """Begin an utterance; raises StageError."""


class Responder(PipelineStage, Protocol):
    """Answers what was said, as a stream of text."""

    def respond(self, history: Sequence[Said]) -> AsyncIterator[str]:
        """Yield the answer to the last entry, piece by piece; closing the iterator cancels. Raises StageError."""


class Synthesizer(PipelineStage, Protocol):
    """Speaks text."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the pcm16 mono audio that it yields; known once it is open."""

    def synthesize(self, text: str) -> AsyncIterator[bytes]:
        """Yield the speech for one sentence, whole samples, piece by piece; closing it cancels. Raises StageError."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The backends that a voice app works with."""

    activity: ActivityDetector
    recognizer: Recognizer
    responder: Responder
    synthesizer: Synthesizer

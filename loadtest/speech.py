"""The speech that callers of a voice test say: a WAV file without the silence at its ends.

How long an answer takes counts from the end of the speech, so that has to be known.
"""

from __future__ import annotations

import sys
from array import array
from operator import mul
from pathlib import Path
from typing import Final

from loadtest.wire import CallerSpeech
from wscore.errors import ConfigError
from wscore.wav import Wav, WavError, read_wav

MAX_MS: Final = 30_000  # a server's turns are not longer
_STEP_MS: Final = 32
_SILENT: Final = 0.02  # of the loudest sample: the mean of a room's noise is below, that of a last "s" above


def read_speech(path: Path) -> CallerSpeech:
    """Read a WAV file; raises ConfigError."""
    try:
        wav = read_wav(path.read_bytes())
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from None
    except WavError as error:
        raise ConfigError(str(path), str(error)) from None
    if wav.missing_ms:
        raise ConfigError(str(path), f"ends {wav.missing_ms / 1000:.1f} s too soon", "take one that is whole")
    audio = _without_silence(wav)
    if not audio:
        raise ConfigError(str(path), "is silent", "take one with speech in it")
    if wav.form.duration_ms(len(audio)) > MAX_MS:
        raise ConfigError(str(path), f"lasts more than {MAX_MS // 1000} s", "take one sentence")
    return CallerSpeech(wav.form.sample_rate_hz, wav.form.channels, audio)


def _without_silence(wav: Wav) -> bytes:
    samples = array("h", wav.audio)
    if sys.byteorder == "big":
        samples.byteswap()
    loudest = max(max(samples, default=0), -min(samples, default=0))
    step = wav.form.size_bytes(_STEP_MS) // 2
    least = step * (_SILENT * loudest) ** 2
    steps = ((start, samples[start : start + step]) for start in range(0, len(samples), step))
    loud = [start for start, part in steps if sum(map(mul, part, part)) > least]
    return wav.audio[2 * loud[0] : 2 * (loud[-1] + step)] if loud else b""

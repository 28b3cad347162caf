"""A text as speech in one piece, made by a synthesizer of this machine: what `wsctl voice say` says."""

from __future__ import annotations

from wscore.audio import AudioFormat, Encoding
from wscore.wav import Wav
from wsserver.voice.stages import Synthesizer


async def spoken(text: str, synthesizer: Synthesizer) -> Wav:
    """Return the text as pcm16 mono, without a sample if nothing in it can be spoken; opens and closes the synthesizer.

    Raises ConfigError when it cannot be loaded, StageError when it fails.
    """
    await synthesizer.open()
    try:
        audio = b"".join([piece async for piece in synthesizer.synthesize(text)])
    finally:
        await synthesizer.close()
    return Wav(AudioFormat(Encoding.PCM16, synthesizer.sample_rate_hz), audio)

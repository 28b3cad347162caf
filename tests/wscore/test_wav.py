"""WAV files: every kind that people have comes out as the same sound, the rest is refused with what to do."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from array import array
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pythons import pythons
from wscore.audio import SAMPLE_RATES_HZ, AudioFormat, Encoding
from wscore.wav import Wav, WavError, read_wav, write_wav

ROOT = Path(__file__).parents[2]
PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
TONE = [round(12_000 * math.sin(n / 5)) for n in range(400)]


def chunk(id: bytes, content: bytes, *, size: int | None = None, pad: bool = True) -> bytes:
    size = len(content) if size is None else size
    return struct.pack("<4sI", id, size) + content + bytes(len(content) % 2 and pad)


def layout(tag: int = PCM, bits: int = 16, *, channels: int = 1, rate_hz: int = 16_000, frame: int = 0) -> bytes:
    frame = frame or channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate_hz, rate_hz * frame, frame, bits)


def extensible(tag: int, bits: int, *, tail: bytes = GUID_TAIL, **options: int) -> bytes:
    return layout(EXTENSIBLE, bits, **options) + struct.pack("<HHIH", 22, bits, 4, tag) + tail


def riff(*chunks: bytes, size: int | None = None, form: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", form, len(body) if size is None else size) + body


def pcm(*samples: int) -> bytes:
    return struct.pack(f"<{len(samples)}h", *samples)


def file(*, audio: bytes = pcm(*TONE), **options: int) -> bytes:
    return riff(chunk(b"fmt ", layout(**options)), chunk(b"data", audio))


@given(st.sampled_from(SAMPLE_RATES_HZ), st.sampled_from([1, 2]), st.binary(min_size=4, max_size=400))
def test_what_was_written_is_read(rate_hz, channels, audio):
    form = AudioFormat(Encoding.PCM16, rate_hz, channels)
    wav = Wav(form, audio[: len(audio) // form.frame_bytes * form.frame_bytes])
    assert read_wav(write_wav(wav)) == wav


# The kinds of samples: how each writes the tone, and how far off it may be.
KINDS = {
    "8 bits": (PCM, 8, bytes((sample >> 8) + 128 for sample in TONE), 256),
    "16 bits": (PCM, 16, pcm(*TONE), 0),
    "24 bits": (PCM, 24, b"".join((sample * 256 + 255).to_bytes(3, "little", signed=True) for sample in TONE), 0),
    "32 bits": (PCM, 32, array("i", (sample * 65_536 + 65_535 for sample in TONE)).tobytes(), 0),
    "float": (FLOAT, 32, array("f", (sample / 32_767 for sample in TONE)).tobytes(), 0),
    "double": (FLOAT, 64, array("d", (sample / 32_767 for sample in TONE)).tobytes(), 0),
}


@pytest.mark.parametrize("head", [layout, extensible])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_samples_becomes_the_same_sound(kind, channels, head):
    tag, bits, audio, off = KINDS[kind]
    wav = read_wav(riff(chunk(b"fmt ", head(tag, bits, channels=channels)), chunk(b"data", audio)))
    assert wav.form == AudioFormat(Encoding.PCM16, 16_000, channels)
    got = struct.unpack(f"<{len(TONE)}h", wav.audio)
    assert max(abs(sample - wanted) for sample, wanted in zip(got, TONE, strict=True)) <= off
    assert wav.missing_ms == 0


# ITU-T G.711, tables 1 and 2 as 16-bit samples: the ends, the middle, and one value of an inner segment.
@pytest.mark.parametrize("head", [layout, extensible])
@pytest.mark.parametrize(
    ("tag", "codes", "samples"),
    [
        (ALAW, b"\xaa\x2a\xd5\x55\x80", (32_256, -32_256, 8, -8, 5_504)),
        (MULAW, b"\x00\x80\xff\x9f", (-32_124, 32_124, 0, 8_316)),
    ],
    ids=["A-law", "mu-law"],
)
def test_g711_is_read(tag, codes, samples, head):
    data = riff(chunk(b"fmt ", head(tag, 8, rate_hz=8_000)), chunk(b"data", codes))
    assert read_wav(data) == Wav(AudioFormat(Encoding.PCM16, 8_000), pcm(*samples))


def test_floats_beyond_the_scale_are_clipped_and_what_is_no_number_is_silence():
    audio = struct.pack("<6f", 7.5, -1e30, math.inf, -math.inf, math.nan, 0.5)
    data = riff(chunk(b"fmt ", layout(FLOAT, 32)), chunk(b"data", audio))
    assert read_wav(data).audio == pcm(32_767, -32_767, 32_767, -32_767, 0, 16_384)


def test_twenty_valid_bits_in_three_bytes_are_read():
    data = riff(chunk(b"fmt ", layout(PCM, 20, frame=3)), chunk(b"data", b"\x00\x34\x12"))
    assert read_wav(data).audio == b"\x34\x12"


FMT, DATA = chunk(b"fmt ", layout()), chunk(b"data", pcm(*TONE))


@pytest.mark.parametrize(
    "data",
    [
        riff(chunk(b"LIST", b"odd"), FMT, chunk(b"fact", b"12345"), DATA),
        riff(chunk(b"LIST", b"odd", pad=False), FMT, DATA),
        riff(FMT, DATA, chunk(b"LIST", b"overlong", size=99_999)),
        riff(FMT, DATA) + b"trailing text",
        riff(chunk(b"fmt ", layout() + b"\0\0"), DATA),
    ],
    ids=["odd chunks", "an odd chunk without padding", "an overlong chunk", "trailing text", "an empty extension"],
)
def test_other_chunks_are_passed_over(data):
    assert read_wav(data) == Wav(AudioFormat(), pcm(*TONE))


@pytest.mark.parametrize("data_size", [0, 0xFFFF_FFFF, 0x7FFF_F000])
@pytest.mark.parametrize("riff_size", [0, 36, 0xFFFF_FFFF, 0x7FFF_F024])
def test_sizes_that_a_pipe_left_open_are_taken_as_far_as_they_go(riff_size, data_size):
    data = riff(FMT, chunk(b"data", pcm(*TONE), size=data_size), size=riff_size)
    assert read_wav(data) == Wav(AudioFormat(), pcm(*TONE))


def test_a_file_that_announces_no_samples_and_other_chunks_has_none():
    with pytest.raises(WavError, match=r"^it has no samples$"):
        read_wav(riff(FMT, chunk(b"data", b""), chunk(b"LIST", b"text")))


def test_a_file_that_is_cut_off_in_its_samples_tells_how_much_is_missing():
    wav = read_wav(file(channels=2, audio=pcm(*TONE))[:-401])
    assert len(wav.audio) == 396
    assert wav.duration_ms == 99 / 16
    assert wav.missing_ms == pytest.approx(401 / 64)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it is empty"),
        (b"no audio at all", "it is not a WAV file; .*ffmpeg"),
        (b"RIFF\x00\x00", "it is not a WAV file; .*ffmpeg"),
        (b"ID3\x04 an mp3", "it is MP3, not WAV; .*ffmpeg"),
        (b"OggS\x00\x02", "it is Ogg, not WAV; .*ffmpeg"),
        (b"\x1aE\xdf\xa3\x9fB\x86", "it is WebM, not WAV; .*ffmpeg"),
        (riff(FMT, DATA, form=b"RIFX"), r"it is a big-endian WAV file \(RIFX\), not RIFF; .*ffmpeg"),
        (riff(FMT, DATA, form=b"RF64"), r"it is a WAV file for more than 4 GiB \(RF64\), not RIFF; .*ffmpeg"),
        (riff(FMT), "it ends before its samples; .*ffmpeg"),
        (riff(FMT, chunk(b"LIST", b"overlong", size=99_999)), "it ends before its samples; .*ffmpeg"),
        (riff(), "it ends before its format; .*ffmpeg"),
        (riff(DATA, FMT), "its samples come before their format; .*ffmpeg"),
        (riff(FMT, chunk(b"data", b"\0")), "it has no samples"),
        (riff(chunk(b"fmt ", layout()[:14]), DATA), "its format takes 14 bytes, fewer than 16; .*ffmpeg"),
        (
            riff(chunk(b"fmt ", extensible(PCM, 16)[:24]), DATA),
            "its extensible format takes 24 bytes, fewer than 40; .*ffmpeg",
        ),
        (riff(chunk(b"fmt ", extensible(PCM, 16, tail=bytes(14))), DATA), "its format 0100.* is not known; .*ffmpeg"),
        (riff(chunk(b"fmt ", layout(0x11, 4, frame=256)), DATA), "its samples are IMA ADPCM; .*ffmpeg"),
        (riff(chunk(b"fmt ", layout(0x1234, 16)), DATA), r"its samples are of a kind .*\(0x1234\); .*ffmpeg"),
        (riff(chunk(b"fmt ", layout(EXTENSIBLE, 16)), DATA), "its extensible format takes 16 bytes, fewer"),
        (file(bits=64), "its samples have 64 bits in 8 bytes for 1 channels; .*ffmpeg"),
        (file(bits=16, frame=3, channels=2), "its samples have 16 bits in 3 bytes for 2 channels; .*ffmpeg"),
        (file(channels=6), "it has 6 channels, not 1 or 2; .*ffmpeg"),
        (file(channels=0, frame=2), "it has 0 channels, not 1 or 2; .*ffmpeg"),
        (file(rate_hz=96_000), "its sampleRate 96000 is not supported; use 8000, .*48000.*ffmpeg"),
        (file(rate_hz=0), "its sampleRate 0 is not supported; .*ffmpeg"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_what_to_do(data, problem):
    with pytest.raises(WavError, match=f"^{problem}"):
        read_wav(data)


HEADS = [
    b"",
    b"RIFF\xff\xff\xff\xffWAVE",
    riff(chunk(b"fmt ", extensible(FLOAT, 64, channels=2))),
    riff(FMT, DATA)[:44],
]


@given(st.sampled_from(HEADS), st.binary(max_size=200), st.integers(0, 60))
def test_no_bytes_raise_anything_else(head, data, cut):
    with suppress(WavError):
        assert read_wav((head + data)[: max(len(head + data) - cut, 0)]).audio


def fingerprints(python: str, folder: Path) -> list[str]:
    """Return what this interpreter reads of each file."""
    code = (
        "import hashlib, pathlib, sys; from wscore.wav import read_wav\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    print(path.stem, hashlib.sha256(read_wav(path.read_bytes()).audio).hexdigest())"
    )
    command = [python, "-B", "-W", "error", "-c", code, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()


@pytest.mark.parametrize("python", sorted(set(pythons().values()) - {sys.executable}))
def test_other_versions_of_python_read_the_same(python, tmp_path):
    for name, (tag, bits, audio, _) in KINDS.items():
        (tmp_path / f"{name}.wav").write_bytes(riff(chunk(b"fmt ", extensible(tag, bits)), chunk(b"data", audio)))
    ours = fingerprints(sys.executable, tmp_path)
    assert fingerprints(python, tmp_path) == ours
    assert len(ours) == len(KINDS)

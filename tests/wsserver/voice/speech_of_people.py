"""Recordings of people, from Debian's pocketsphinx-testdata; tests that need them skip without them."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from wscore.wav import read_wav

FOLDER = Path("/usr/share/pocketsphinx/test/data")
GOFORWARD = FOLDER / "goforward.raw"
GRAMMAR = FOLDER / "goforward.gram"

needs_recordings = pytest.mark.skipif(not GOFORWARD.is_file(), reason="needs Debian's pocketsphinx-testdata")


def librivox() -> list[tuple[bytes, str]]:
    """Return pcm16, 16 kHz, and what is read in it."""
    folder = FOLDER / "librivox"
    lines = (folder / "transcription").read_text().splitlines()
    texts = dict(re.findall(r"<s> (.*) </s> \((\S+)\)", line)[0][::-1] for line in lines)
    return [(read_wav(path.read_bytes()).audio, texts[path.stem]) for path in sorted(folder.glob("*.wav"))]


def words(text: str) -> list[str]:
    """Return a text's words as a transcript without punctuation writes them."""
    spelled = text.lower().replace("mr.", "mister").replace("10", "ten").replace("-", " ")
    return re.findall(r"[a-z']+", spelled)


def words_right(said: str, heard: str) -> int:
    """Return how many of the words that were said were heard, in their order."""
    blocks = SequenceMatcher(None, words(said), words(heard), autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks)

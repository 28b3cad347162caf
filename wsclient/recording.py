"""Recordings: one message a line, as `wsctl connect` prints and records them and `wsctl replay` sends them.

A line is the envelope as it went over the wire with one member more at its end, `receivedAtMs` or `sentAtMs`:
wall-clock ms. A text that is no envelope is the member `text` of such a line (docs/recordings.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from wsclient.dialling import read_envelope
from wscore.envelope import Envelope
from wscore.errors import ConfigError
from wscore.text import json_line

RECEIVED: Final = "receivedAtMs"
SENT: Final = "sentAtMs"


class RecordingError(ConfigError):
    """A recording cannot be written or read; `setting` is the file, with the line where there is one."""


@dataclass(frozen=True, slots=True)
class Record:
    """One message: the frame's text exactly as it was, when (wall-clock ms) and in which direction."""

    at_ms: int
    is_sent: bool
    text: str
    envelope: Envelope | None


def line_of(record: Record) -> str:
    """Return a message as one line without control characters, its data byte for byte."""
    mark = f'"{SENT if record.is_sent else RECEIVED}":{record.at_ms}}}'
    if record.envelope is None:
        return f'{{"text":{json_line(json.dumps(record.text, ensure_ascii=False))},{mark}'
    return f"{json_line(record.text).rstrip()[:-1].rstrip()},{mark}"


def read_record(line: str, place: str = "line 1") -> Record:
    """Read one line; raises RecordingError naming `place`."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordingError(place, f"is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RecordingError(place, "is not an object")
    mark = next((name for name in reversed(value) if name in (SENT, RECEIVED)), None)
    if mark is None:
        raise RecordingError(place, f"has neither {RECEIVED} nor {SENT}", "is this a recording?")
    at_ms = value[mark]
    if isinstance(at_ms, bool) or not isinstance(at_ms, int) or at_ms < 0:
        raise RecordingError(place, f"{mark} is not a time in ms")
    text = _frame_text(line, value, mark)
    return Record(at_ms, mark == SENT, text, read_envelope(text))


def read_recording(path: Path) -> Iterator[Record]:
    """Read a file line by line; raises RecordingError naming file and line."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield read_record(line.strip(), f"{path}:{number}")
    except OSError as error:
        raise RecordingError(str(path), error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise RecordingError(str(path), f"is not UTF-8 ({error.reason} at byte {error.start})") from None


class Recorder:
    """Writes a recording to a new file. Raises RecordingError if there is such a file or it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        try:
            self._file: TextIO = path.open("x", encoding="utf-8")
        except FileExistsError:
            raise RecordingError(str(path), "exists already", "choose another name") from None
        except OSError as error:
            raise RecordingError(str(path), error.strerror or str(error)) from None

    def write(self, record: Record) -> None:
        """Add one message; it may reach the disk later."""
        try:
            self._file.write(line_of(record) + "\n")
        except OSError as error:
            raise RecordingError(str(self._path), error.strerror or str(error)) from None
        self.count += 1

    def flush(self) -> None:
        """Bring everything to the disk."""
        try:
            self._file.flush()
        except OSError as error:
            raise RecordingError(str(self._path), error.strerror or str(error)) from None

    def close(self) -> None:
        """Finish the file."""
        self.flush()
        self._file.close()


def _frame_text(line: str, value: dict[str, Any], mark: str) -> str:
    if set(value) == {"text", mark} and isinstance(value["text"], str):
        return value["text"]
    # Our member stands at the very end: what is before it is the envelope, byte for byte.
    cut = line.rfind(f',"{mark}":{value[mark]}}}')
    if cut >= 0 and cut + len(f',"{mark}":{value[mark]}}}') == len(line):
        return line[:cut] + "}"
    del value[mark]  # written by hand or by another program
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""Recordings: one message a line, as `wsctl connect` prints and records them and `wsctl replay` sends them.

A line is the envelope as it went over the wire with one member more at its end, `receivedAtMs` or `sentAtMs`:
wall-clock ms. A text that is no envelope is the member `text` of such a line. What happens to the connection is a line
with `event` and `atMs` (docs/cli.md, Recordings).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import msgspec

from wsclient.dialling import read_envelope
from wsclient.happenings import Happening
from wscore.envelope import MAX_SAFE_INTEGER, Envelope
from wscore.errors import ConfigError
from wscore.text import json_line

T = TypeVar("T")

RECEIVED: Final = "receivedAtMs"
SENT: Final = "sentAtMs"
EVENT: Final = "event"
AT: Final = "atMs"

# The end of every line that we write. Whatever a server put before it, in a valid object it is the last member.
_END = re.compile(rf',"({SENT}|{RECEIVED})":[0-9]+}}\Z')
_BEGINS_HAPPENING = re.compile(rf'{{\s*"{EVENT}"\s*:')
# Members stay raw: nothing in them, such as an integer of a million digits, can make the line unreadable.
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


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


def line_of_happening(happening: Happening) -> str:
    """Return what happened to a connection as one line."""
    line = {EVENT: happening.kind, **happening.fields, AT: happening.at_ms}
    return json_line(json.dumps(line, ensure_ascii=False, separators=(",", ":")))


def read_line(line: str, place: str = "line 1") -> Record | Happening:
    """Read one line, a message or what happened to the connection; raises RecordingError naming `place`."""
    if _BEGINS_HAPPENING.match(line) and not _END.search(line):
        try:
            members = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise RecordingError(place, f"is not JSON: {error}") from None
        kind, at_ms = members.pop(EVENT), members.pop(AT, None)
        if isinstance(kind, str) and isinstance(at_ms, int) and 0 <= at_ms <= MAX_SAFE_INTEGER:
            return Happening(kind, at_ms, members)
        if at_ms is not None:
            raise RecordingError(place, f"{EVENT} or {AT} is not what it should be")
    return read_record(line, place)


def read_record(line: str, place: str = "line 1") -> Record:
    """Read one line that is a message; raises RecordingError naming `place`."""
    try:
        members = _members.decode(line)
    except msgspec.ValidationError:
        raise RecordingError(place, "is not an object") from None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise RecordingError(place, f"is not JSON: {error}") from None
    end = _END.search(line)
    mark = end[1] if end else next((name for name in reversed(members) if name in (SENT, RECEIVED)), None)
    if mark is None:
        raise RecordingError(place, f"has neither {RECEIVED} nor {SENT}", "is this a recording?")
    at_ms = _decoded(members[mark], int)
    if at_ms is None or not 0 <= at_ms <= MAX_SAFE_INTEGER:
        raise RecordingError(place, f"{mark} is not a time in ms")
    text = _decoded(members["text"], str) if set(members) == {"text", mark} else None
    if text is None:
        text = line[: end.start()] + "}" if end else _without(members, mark)
    return Record(at_ms, mark == SENT, text, read_envelope(text))


def read_recording(path: Path) -> Iterator[Record]:
    """Read the messages of a file, line by line; raises RecordingError naming file and line."""
    return (item for item in read_everything(path) if isinstance(item, Record))


def read_everything(path: Path) -> Iterator[Record | Happening]:
    """Read a file line by line, with what happened to the connection; raises RecordingError naming file and line."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield read_line(line.strip(), f"{path}:{number}")
    except OSError as error:
        raise RecordingError(str(path), error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise RecordingError(str(path), f"is not UTF-8 ({error.reason} at byte {error.start})") from None


class Recorder:
    """Writes a recording to a new file that its owner alone can read.

    Raises RecordingError if it has content already or cannot be written. An empty file, as a run without a connection
    leaves it, a pipe or a device is as good as a new one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        try:
            if path.is_file() and path.stat().st_size:
                raise RecordingError(str(path), "exists already", "choose another name")
            # Of two at the same time none deletes the other's.
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self._file: TextIO = os.fdopen(descriptor, "a", encoding="utf-8")
        except OSError as error:
            raise RecordingError(str(path), error.strerror or str(error)) from None

    def write(self, record: Record) -> None:
        """Add one message; it may reach the disk later."""
        self._put(line_of(record))
        self.count += 1

    def write_happening(self, happening: Happening) -> None:
        """Add what happened to the connection; `count` counts messages alone."""
        self._put(line_of_happening(happening))

    def _put(self, line: str) -> None:
        try:
            self._file.write(line + "\n")
        except OSError as error:
            raise RecordingError(str(self._path), error.strerror or str(error)) from None

    def flush(self) -> None:
        """Bring everything to the disk."""
        try:
            self._file.flush()
        except OSError as error:
            raise RecordingError(str(self._path), error.strerror or str(error)) from None

    def close(self) -> None:
        """Finish the file."""
        try:
            self._file.close()
        except OSError as error:
            raise RecordingError(str(self._path), error.strerror or str(error)) from None


def _decoded(raw: msgspec.Raw, wanted: type[T]) -> T | None:
    try:
        return msgspec.json.decode(raw, type=wanted)
    except (msgspec.DecodeError, RecursionError):
        return None


def _without(members: dict[str, msgspec.Raw], mark: str) -> str:
    """Return the frame of a line that was written by hand or by another program, compact where that can be."""
    kept = {name: raw for name, raw in members.items() if name != mark}
    try:
        return msgspec.json.encode({name: msgspec.json.decode(raw) for name, raw in kept.items()}).decode()
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode(kept).decode()

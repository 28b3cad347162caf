"""Recordings: one message a line, as `wsctl connect` prints and records them and `wsctl replay` sends them.

A line is the envelope as it went over the wire with one member more at its end, `receivedAtMs` or `sentAtMs`:
wall-clock ms. A frame that is no JSON object is the member `text` of such a line, or `base64` if it was binary. What
happens to the connection is a line with `event` and `atMs` (docs/cli.md, Recordings).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import msgspec

from wsclient.events import Received, Sent
from wsclient.frametext import text_of_frame
from wsclient.happenings import Happening
from wscore.envelope import MAX_SAFE_INTEGER, NO_DATA, Envelope
from wscore.errors import ConfigError
from wscore.foreign import Frame, Kind, Reading
from wscore.foreign.adapter import UNREADABLE
from wscore.foreign.binary import base64_of, bytes_of_base64
from wscore.foreign.jsonrpc import JSONRPC
from wscore.foreign.ours import envelope_of
from wscore.foreign.plain import read_json
from wscore.text import json_line

T = TypeVar("T")
Read = Callable[[Frame], Reading]

RECEIVED: Final = "receivedAtMs"
SENT: Final = "sentAtMs"
EVENT: Final = "event"
AT: Final = "atMs"

# The end of every line that we write. Whatever a server put before it, in a valid object it is the last member.
_END = re.compile(rf',"({SENT}|{RECEIVED})":[0-9]+}}\Z')
_BEGINS_HAPPENING = re.compile(rf'{{\s*"{EVENT}"\s*:')
_TEXT: Final = "text"
_BASE64: Final = "base64"
_OF_WRAPPED: Final = frozenset((_TEXT, _BASE64, "type", "id", "sessionId", "data"))
_BEGINS_WRAPPED: Final = re.compile(rf'\s*\{{\s*"(?:{_TEXT}|{_BASE64})"')
_NULL: Final = msgspec.Raw(b"null")
# Members stay raw: nothing in them, such as an integer of a million digits, can make the line unreadable.
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RecordingError(ConfigError):
    """A recording cannot be written or read; `setting` is the file, with the line where there is one."""


class Record(msgspec.Struct, frozen=True):
    """One message: the frame's text exactly as it was, when (wall-clock ms) and in which direction.

    `envelope` is the message in it. That of a `binary` frame is its bytes; its text is the start of them as hex.
    """

    at_ms: int
    is_sent: bool
    text: str
    envelope: Envelope | None
    binary: bytes | None = None

    @property
    def frame(self) -> Frame:
        """The frame as it went over the wire."""
        return self.text if self.binary is None else self.binary

    @property
    def size_bytes(self) -> int:
        """Size of the frame's payload."""
        if self.binary is not None:
            return len(self.binary)
        return len(self.text) if self.text.isascii() else len(self.text.encode(errors="surrogatepass"))


def record_of(event: Received | Sent) -> Record:
    """Return what happened as a message of a recording."""
    return Record(event.at_ms, isinstance(event, Sent), event.text, event.envelope, event.binary)


def line_of(record: Record) -> str:
    """Return a message as one line without control characters, its data byte for byte.

    A JSON object is the line itself. Any other frame is its member `text` or `base64`, the first one, beside what was
    read of it: `type`, `id` and `data`.
    """
    mark = f'"{SENT if record.is_sent else RECEIVED}":{record.at_ms}}}'
    envelope = record.envelope
    if envelope is not None and record.text.lstrip().startswith("{") and not _looks_wrapped(record.text):
        return f"{json_line(record.text).rstrip()[:-1].rstrip()},{mark}" if _has_members(record.text) else f"{{{mark}"
    if record.binary is None:
        parts = [f'{{"{_TEXT}":{json.dumps(record.text, ensure_ascii=False)}']
    else:
        parts = [f'{{"{_BASE64}":"{base64_of(record.binary)}"']
    if envelope is not None:
        read = (("type", envelope.type or None), ("id", envelope.id), ("sessionId", envelope.session_id))
        parts += [f'"{name}":{json.dumps(value, ensure_ascii=False)}' for name, value in read if value is not None]
        if bytes(envelope.data):
            parts.append(f'"data":{bytes(envelope.data).decode()}')
    return f"{json_line(','.join(parts))},{mark}"


def _has_members(text: str) -> bool:
    return text.strip()[1:-1].strip() != ""


def _looks_wrapped(text: str) -> bool:
    """Tell whether an object would be taken for one of our own lines around a frame."""
    return _BEGINS_WRAPPED.match(text) is not None and _is_wrapped(_members.decode(text))


def _is_wrapped(members: dict[str, msgspec.Raw]) -> bool:
    return next(iter(members), "") in (_TEXT, _BASE64) and members.keys() <= _OF_WRAPPED


def read_guessed(frame: Frame) -> Reading:
    """Read a frame of a server of which nothing is said: an envelope, a call of JSON-RPC, or any JSON object."""
    envelope = envelope_of(frame)
    if envelope is not None:
        return Reading(Kind.MESSAGE, envelope)
    reading = JSONRPC.read(frame) if isinstance(frame, str) and '"jsonrpc"' in frame else read_json(frame)
    return reading if isinstance(frame, bytes) or frame.lstrip().startswith("{") else UNREADABLE


def line_of_happening(happening: Happening) -> str:
    """Return what happened to a connection as one line."""
    line = {EVENT: happening.kind, **happening.fields, AT: happening.at_ms}
    return json_line(json.dumps(line, ensure_ascii=False, separators=(",", ":")))


def read_line(line: str, place: str = "line 1", read: Read = read_guessed) -> Record | Happening:
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
    return read_record(line, place, read)


def read_record(line: str, place: str = "line 1", read: Read = read_guessed) -> Record:
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
    wrapped = {name: raw for name, raw in members.items() if name != mark}
    if _is_wrapped(wrapped):
        record = _unwrapped(wrapped, at_ms, is_sent=mark == SENT)
        if record is not None:
            return record
    text = line[: end.start()] + "}" if end else _without(members, mark)
    return Record(at_ms, mark == SENT, text, read(text).message)


def _unwrapped(members: dict[str, msgspec.Raw], at_ms: int, *, is_sent: bool) -> Record | None:
    """Return the frame that a line of ours holds, with what was read of it."""
    name = next(iter(members))
    content = _decoded(members[name], str)
    if content is None:
        return None
    binary = None
    if name == _BASE64:
        try:
            content, binary = text_of_frame(bytes_of_base64(content, _BASE64))
        except ConfigError:
            return None
    message = None
    if len(members) > 1:
        type_name, id, session = (_decoded(members.get(key, _NULL), str) for key in ("type", "id", "sessionId"))
        message = Envelope(type_name or "", 0, session, members.get("data", NO_DATA), id)
    return Record(at_ms, is_sent, content, message, binary)


def read_recording(path: Path, read: Read = read_guessed) -> Iterator[Record]:
    """Read the messages of a file, line by line; raises RecordingError naming file and line."""
    return (item for item in read_everything(path, read) if isinstance(item, Record))


def read_everything(path: Path, read: Read = read_guessed) -> Iterator[Record | Happening]:
    """Read a file line by line, with what happened to the connection; raises RecordingError naming file and line."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield read_line(line.strip(), f"{path}:{number}", read)
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

"""What a broadcast of the load looks like: which run and session it is for, who sent it and when, if it is whole."""

from __future__ import annotations

import re
import zlib
from enum import Enum, auto
from typing import Final

import msgspec

from wscore.jsonvalues import NOT_JSON

_MODULUS: Final = 65_521
_STAMP: Final = re.compile(
    rb"wsctl\.([0-9a-zA-Z]+)\.([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,12})\.([0-9]{1,19})\.([0-9]{1,19})\.([0-9]{1,6})\."
)
_PUBLISHED: Final = b'{"type":"message","timestamp":%d,"data":'
_PUBLISHED_IN_ROOM: Final = b'{"type":"message","timestamp":%%d,"room":"%s%%d","data":'


class Flaw(Enum):
    """What is wrong with a message that is no broadcast as it was sent."""

    UNKNOWN = auto()  # nobody of this run sent such a thing
    CORRUPT = auto()  # it cannot be told which one it was


class Broadcast(msgspec.Struct, gc=False, rename={"session": "to", "publisher": "pub", "check": "sum"}):
    """The data of a message. `due` is ns of the clock of the run, `late` how many ns later it was sent."""

    run: str
    session: int
    publisher: int
    seq: int
    due: int
    late: int
    check: int
    pad: str = ""


_decode: Final = msgspec.json.Decoder(Broadcast).decode
_decode_any: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class BroadcastForm:
    """Writes and reads the broadcasts of one run; `payload_bytes` is the size of the data, where it is enough.

    With a `room_prefix` they are for rooms, whose names it begins.
    """

    def __init__(self, run_id: str, payload_bytes: int, now_ns: int, *, room_prefix: str | None = None) -> None:
        self._run_id = run_id
        quoted = msgspec.json.encode(run_id).replace(b"%", b"%%")
        data = b'{"run":%s,"to":%%d,"pub":%%d,"seq":%%d,"due":%%d,"late":%%d,"sum":%%d' % quoted
        pad = payload_bytes - len(data % (0, 0, 1000, now_ns, 1000, _MODULUS)) - len(',"pad":""}')
        self._pad = "x" * max(0, pad)
        ending = b',"pad":"%s"}}' % self._pad.encode() if self._pad else b"}}"
        self._is_for_rooms = room_prefix is not None
        head = _PUBLISHED if room_prefix is None else _PUBLISHED_IN_ROOM % room_prefix.encode()
        self._form = head + data + ending

    def message(self, now_ms: int, session: int, publisher: int, seq: int, due_ns: int, sent_ns: int) -> bytes:
        """Return a message; the times of its data are ns of the clock of the run."""
        late_ns = sent_ns - due_ns
        check = _check(session, publisher, seq, due_ns, late_ns)
        head = (now_ms, session) if self._is_for_rooms else (now_ms,)
        return self._form % (*head, session, publisher, seq, due_ns, late_ns, check)

    def read(self, data: msgspec.Raw) -> Broadcast | Flaw:
        """Return the broadcast that the data of a message is, whole or not (see `is_whole`), or what is wrong."""
        try:
            message = _decode(data)
        except NOT_JSON:
            return Flaw.CORRUPT if self._is_of_this_run(data) else Flaw.UNKNOWN
        check = _check(message.session, message.publisher, message.seq, message.due, message.late)
        if message.run != self._run_id:
            return Flaw.UNKNOWN
        return message if message.check == check else Flaw.CORRUPT

    def is_whole(self, message: Broadcast) -> bool:
        """Tell whether all of it is as it was sent."""
        return message.pad == self._pad

    def _is_of_this_run(self, data: msgspec.Raw) -> bool:
        try:
            return bytes(_decode_any(data).get("run", b"")) == msgspec.json.encode(self._run_id)
        except NOT_JSON:
            return False


class StampForm:
    """Writes and reads broadcasts in any protocol: a word in each tells all of it, wherever the server puts that."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def stamp(self, session: int, publisher: int, seq: int, due_ns: int, sent_ns: int) -> str:
        """Return the word; the times are ns of the clock of the run."""
        late_ns = sent_ns - due_ns
        check = _check(session, publisher, seq, due_ns, late_ns)
        return f"wsctl.{self._run_id}.{session}.{publisher}.{seq}.{due_ns}.{late_ns}.{check}."

    def read(self, payload: bytes) -> Broadcast | Flaw | None:
        """Return the broadcast that a frame carries, or what is wrong with it; None if it carries none."""
        found = _STAMP.search(payload)
        if found is None:
            return None
        if found[1].decode() != self._run_id:
            return Flaw.UNKNOWN
        session, publisher, seq, due_ns, late_ns, check = (int(digits) for digits in found.groups()[1:])
        if check != _check(session, publisher, seq, due_ns, late_ns):
            return Flaw.CORRUPT
        return Broadcast(self._run_id, session, publisher, seq, due_ns, late_ns, check)


def _check(session: int, publisher: int, seq: int, due_ns: int, late_ns: int) -> int:
    return zlib.crc32(b"%d %d %d %d %d" % (session, publisher, seq, due_ns, late_ns)) % _MODULUS

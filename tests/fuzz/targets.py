"""What is fuzzed: functions of bytes, each of which fails by an exception that the code under test must not raise."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from wsclient.filters import FilterError, MessageFilter
from wsclient.recording import RecordingError, line_of, read_record
from wsclient.templates import TemplateContext, TemplateError, expand
from wscore.disconnects import DisconnectError
from wscore.envelope import InvalidMessageError, MessageProtocol
from wscore.guest import GuestMode, GuestVerifier, mint_guest_token
from wscore.principal import AuthError
from wscore.tokens import JwtKey, JwtVerifier
from wsserver.engines.assembly import Assembler, max_fragments
from wsserver.engines.request import HandshakeRequest

NOW_MS: Final = 1_764_000_000_000
SECRET: Final = b"a secret for tests, 32 bytes or more"
MAX_BYTES: Final = 256
_TYPE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_JWT: Final = JwtVerifier(JwtKey(secret=SECRET))
_GUEST: Final = {
    mode: GuestVerifier(mode, secret=SECRET, ttl_ms=86_400_000) for mode in (GuestMode.UNSIGNED, GuestMode.SIGNED)
}


def envelope(data: bytes) -> None:
    """Whatever a frame holds is an envelope or InvalidMessageError, and an envelope keeps its data byte for byte."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return  # the engine refuses it before
    try:
        read = MessageProtocol.deserialize(data)
    except InvalidMessageError as error:
        assert str(error)
        return
    assert _TYPE.fullmatch(read.type)
    assert 0 <= read.timestamp < 2**53
    written = MessageProtocol.serialize(read)
    assert MessageProtocol.deserialize(written) == read
    assert bytes(read.data) in written
    json.loads(written)


def token(data: bytes) -> None:
    """Whatever a token is, it names a principal or raises AuthError without quoting it."""
    text = data.decode("utf-8", "replace")
    for verify in (_JWT.verify, *(verifier.verify for verifier in _GUEST.values())):
        try:
            principal = verify(text, NOW_MS)
        except AuthError as error:
            assert len(text) < 8 or text not in f"{error}{error!r}"
            continue
        assert principal.user_id
        if principal.is_guest:
            _, name, at, *_mac = text.split("_")
            assert text.lower().startswith(mint_guest_token(uuid.UUID(name), int(at)))


def fragments(data: bytes) -> None:
    """Frames joined by the assembler are what a naive reading of RFC 6455 section 5.4 joins."""
    assembler = Assembler(MAX_BYTES)
    begun: int | None = None
    joined = b""
    count = 0
    position = 0
    while position + 2 <= len(data):
        head, size = data[position], data[position + 1] % 64
        payload = data[position + 2 : position + 2 + size]
        position += 2 + len(payload)
        opcode, fin = head % 3, bool(head & 0x80)
        try:
            message = assembler.add(opcode, fin, payload)
        except DisconnectError as error:
            out_of_place = (opcode == 0) != (begun is not None)
            too_big = len(joined) + len(payload) > MAX_BYTES or count + 1 >= max_fragments(MAX_BYTES)
            assert error.disconnect.close_code in ({1002} if out_of_place else {1009} if too_big else {1007})
            return
        assert (opcode == 0) == (begun is not None)
        begun = opcode if begun is None else begun
        joined, count = joined + payload, count + 1
        assert len(joined) <= MAX_BYTES
        if message is None:
            assert not fin
            continue
        assert fin
        assert message == (begun, joined)
        if begun == 1:
            joined.decode()
        begun, joined, count = None, b"", 0


def handshake(data: bytes) -> None:
    """Any request target and headers are read or refused with ValueError, and the repr has no query."""
    target, *lines = data.decode("latin-1").split("\n")
    headers = [(name, value) for name, _, value in (line.partition(":") for line in lines)]
    try:
        request = HandshakeRequest(target, headers)
    except ValueError:
        return
    assert repr(request) == f"HandshakeRequest({request.path!r})"
    request.header_items("connection")
    request.subprotocol_token()
    assert request.query("token") is None or isinstance(request.query("token"), str)
    assert request.wants_upgrade in (True, False)


def recording(data: bytes) -> None:
    """A line is a record that gives an equal record again, or RecordingError."""
    try:
        record = read_record(data.decode("utf-8", "replace"))
    except RecordingError:
        return
    line = line_of(record)
    assert "\n" not in line
    again = read_record(line)
    assert (again.at_ms, again.is_sent) == (record.at_ms, record.is_sent)


def expressions(data: bytes) -> None:
    """Any text is a filter or FilterError, and a template or TemplateError."""
    text = data.decode("utf-8", "replace")
    try:
        assert MessageFilter.parse(str(MessageFilter.parse(text))).text == text.strip()
    except FilterError as error:
        assert "column" in str(error)
    context = TemplateContext(now_ms=lambda: NOW_MS, new_uuid=lambda: str(uuid.UUID(int=1)))
    try:
        expand(text, context)
    except TemplateError as error:
        assert "line" in str(error)


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (envelope, token, fragments, handshake, recording, expressions)
}

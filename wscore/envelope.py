"""The envelope, the one JSON object that every text frame carries, and its codec (design section 2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar

import msgspec

from wscore.choices import with_choices
from wscore.codes import ERRORS
from wscore.errors import WsctlError
from wscore.jsonvalues import (
    MAX_DEPTH,
    MAX_DIGITS,
    exceeds_a_double,
    has_long_number,
    has_many_large_exponents,
    holds_no_number,
    is_too_deep,
    place_of_no_number,
    plain_of,
)
from wscore.messages import MESSAGES
from wscore.payloads import ErrorData, Timestamp
from wscore.rooms import in_words, is_room_name

MAX_ID_LENGTH: Final = 64
MAX_SAFE_INTEGER: Final = 2**53 - 1  # larger integers lose digits in JavaScript clients

TYPE_RULE: Final = "a type is 1 to 64 of A-Z a-z 0-9 _ . : -"
_TYPE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# A known type skips the pattern: the match would cost more than decoding the envelope.
_KNOWN_TYPES = frozenset(MESSAGES)

NO_DATA: Final = msgspec.Raw()  # this very object: msgspec leaves a default out by identity


# The garbage collector need not look at envelopes: they hold no way back to themselves.
class Envelope(msgspec.Struct, rename="camel", omit_defaults=True, gc=False):
    """One message on the wire.

    `timestamp` is milliseconds since the epoch on the sender's clock, for information only. `data` stays the
    raw JSON slice of the frame (empty when absent), so a broadcast passes it on byte for byte. `id` ties a
    reply or an error to its request. `room` is the room that it is for, or came by. `user_id` is set by the server on a
    fanned-out `message`, never read from a client. `traceparent` is the raw slice too, whatever it is.
    """

    type: str
    timestamp: Annotated[int, msgspec.Meta(ge=0, le=MAX_SAFE_INTEGER)]
    session_id: str | None = None
    data: msgspec.Raw = NO_DATA
    id: Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH)] | None = None
    room: str | None = None
    user_id: str | None = None
    traceparent: msgspec.Raw = NO_DATA


class OutboundEnvelope(msgspec.Struct, rename="camel", omit_defaults=True, gc=False):
    """An envelope to send: like Envelope, but its data is any value, encoded together with it in one pass."""

    type: str
    timestamp: int
    session_id: str | None = None
    data: object = msgspec.UNSET
    id: str | None = None
    room: str | None = None
    user_id: str | None = None
    traceparent: object = msgspec.UNSET


def is_message_type(text: object) -> bool:
    """Tell whether an envelope may have this as its type."""
    return isinstance(text, str) and _TYPE.fullmatch(text) is not None


class InvalidMessageError(WsctlError):
    """A frame that is not a valid envelope, or whose data does not fit its type.

    `reason` says what is wrong and where (a JSON path such as `$.timestamp`); `request_id` is the id of the
    offending message if it could be read.
    """

    def __init__(self, reason: str, request_id: str | None = None) -> None:
        super().__init__(reason, request_id)
        self.reason = reason
        self.request_id = request_id

    def __str__(self) -> str:
        return self.reason


class UnsendableError(WsctlError, ValueError):
    """A message that receivers could not read; `what` names it or its part, `problem` says what is wrong with it."""

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(what, problem)
        self.what = what
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.what} cannot be sent: {self.problem}"


T = TypeVar("T")

_encoder = msgspec.json.Encoder(enc_hook=plain_of)
_decoder = msgspec.json.Decoder(Envelope)
# What msgspec says of a timestamp that is none.
_OUT_OF_RANGE: Final = [f"Expected `int` {bound} - at `$.timestamp`" for bound in (">= 0", f"<= {MAX_SAFE_INTEGER}")]
_decode_any = msgspec.json.Decoder().decode
_decode_by_float = msgspec.json.Decoder(float_hook=float).decode  # which takes an infinity, and no longer for any
_skip = msgspec.json.Decoder(msgspec.Raw).decode
_BUILT_AT_MOST: Final = 256  # of raw data, to check it: to build the values of much takes long


def decode_data(raw: msgspec.Raw, data_type: type[T], request_id: str | None = None) -> T:
    """Decode and validate an envelope's data as `data_type` (a msgspec Struct, dataclass or builtin type).

    Absent data counts as `null`, but stays absent as msgspec.Raw. Raises InvalidMessageError naming the field's
    path below `$.data`, also for a number that not every receiver could read.
    """
    try:
        if data_type is msgspec.Raw:
            if raw is not NO_DATA:
                _check(bytes(raw))  # it is passed on unread, and each receiver shall be able to read it
            return raw  # type: ignore[return-value]
        if data_type is Any:
            return _decode_untyped(b"null" if raw is NO_DATA else bytes(raw))  # type: ignore[no-any-return]
        return msgspec.json.decode(b"null" if raw is NO_DATA else raw, type=data_type)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidMessageError(_reason(error, "$.data", data_type), request_id) from None


def _decode_untyped(text: bytes) -> Any:
    if len(text) <= MAX_DIGITS or not has_many_large_exponents(text):
        return _decode_any(text)
    _check(text)
    return _decode_by_float(text)


def _check(text: bytes) -> None:
    """Raise for what is no JSON, or none that everybody can read inside of an envelope."""
    if is_too_deep(text, MAX_DEPTH - 1):
        raise RecursionError
    if len(text) <= _BUILT_AT_MOST:
        _decode_any(text)
        return
    str(text, "utf-8")  # what msgspec skips it does not look at so closely
    _skip(text)
    if exceeds_a_double(text):
        raise msgspec.ValidationError("Number out of range")


class _IdOnly(msgspec.Struct):
    id: str | None = None


def readable_id(frame: bytes) -> str | None:
    """Return the id of a frame, an envelope or not but JSON, so that its sender can tell which one failed."""
    try:
        request_id = msgspec.json.decode(frame, type=_IdOnly).id
    except (msgspec.DecodeError, RecursionError):
        return None
    return request_id if request_id is not None and len(request_id) <= MAX_ID_LENGTH else None


def _reason(error: Exception, root: str = "$", data_type: Any = None) -> str:
    if isinstance(error, RecursionError):
        return f"JSON is nested too deeply - at `{root}`"
    if isinstance(error, UnicodeDecodeError):
        return f"JSON is not UTF-8 - at `{root}`"
    text = with_choices(in_words(str(error)), data_type)
    # msgspec reports a high surrogate without its low half in skipped data as truncation.
    if "truncated" in text:
        return "JSON is malformed: truncated, or a lone surrogate"
    if root != "$":
        # The last one: a value that is told may hold such a place too.
        text = f"`{root}".join(text.rsplit("`$", 1)) if " - at `$" in text else f"{text} - at `{root}`"
    return text


def with_seq(envelope: bytes, seq: int) -> bytes:
    """Return a serialized envelope with its `seq`, without encoding the rest again."""
    return b'%b,"seq":%d}' % (envelope[:-1], seq)


class MessageProtocol:
    """Makes, serializes and reads envelopes; `now_ms` supplies the wall clock (ms since the epoch)."""

    __slots__ = ("_now_ms", "_pong_head", "_pong_ms", "_pong_tail", "_retryable")

    def __init__(self, now_ms: Callable[[], int], own_errors: Mapping[str, bool] = MappingProxyType({})) -> None:
        """Build it; `own_errors` are error codes beyond the table, each with whether it is retryable."""
        self._now_ms = now_ms
        self._pong_ms = -1
        self._pong_head = self._pong_tail = b""
        self._retryable: dict[str, bool] = {**{code: spec.retryable for code, spec in ERRORS.items()}, **own_errors}

    def create_envelope(
        self,
        type: str,
        data: object = msgspec.UNSET,
        session_id: str | None = None,
        *,
        id: str | None = None,
        room: str | None = None,
        user_id: str | None = None,
    ) -> OutboundEnvelope:
        """Build an envelope stamped with the current time.

        `data` may be any JSON value, a msgspec Struct, a dataclass, or a raw slice that stays byte for byte.
        """
        if isinstance(data, msgspec.Raw) and data == NO_DATA:
            data = msgspec.UNSET
        return OutboundEnvelope(type, self._now_ms(), session_id, data, id, room, user_id)

    def serialize_pong(self, session_id: str, id: str | None) -> bytes:
        """Return the answer to a ping, the hottest message there is: what all of one ms have in common is made once.

        The session's id is one that JSON holds as it is.
        """
        now = self._now_ms  # apart from the call: Python 3.11 looks for a method first otherwise
        now_ms = now()
        if id is not None:
            return _encoder.encode(OutboundEnvelope("pong", now_ms, session_id, Timestamp(now_ms), id))
        if now_ms != self._pong_ms:
            self._pong_ms = now_ms
            self._pong_head = b'{"type":"pong","timestamp":%d,"sessionId":"' % now_ms
            self._pong_tail = b'","data":{"timestamp":%d}}' % now_ms
        return self._pong_head + session_id.encode() + self._pong_tail

    def serialize_forwarded(
        self,
        type: str,
        data: msgspec.Raw,
        session_id: str | None,
        room: str | None,
        user_id: str,
        traceparent: object = msgspec.UNSET,
    ) -> bytes:
        """Return what came from a client for its session or a room, in one call and without a look at the data.

        That was checked when it came.
        """
        part = msgspec.UNSET if data == NO_DATA else data
        now = self._now_ms
        return _encoder.encode(OutboundEnvelope(type, now(), session_id, part, None, room, user_id, traceparent))

    def serialize_skipped(self, seq: int, *, session_id: str | None = None, room: str | None = None) -> bytes:
        """Return what stands in the place of an event of a session or a room that is not for a connection."""
        return with_seq(_encoder.encode(OutboundEnvelope("skipped", self._now_ms(), session_id, room=room)), seq)

    def create_error_envelope(
        self,
        code: str,
        message: str,
        session_id: str | None = None,
        *,
        id: str | None = None,
        details: dict[str, object] | None = None,
        retryable: bool | None = None,
    ) -> OutboundEnvelope:
        """Build an `error` envelope; unless given, whether it is retryable comes from the code's row or declaration.

        Raises UnsendableError for a code that has neither.
        """
        usually = self._retryable.get(code)
        if usually is None:
            raise UnsendableError(repr(code), "there is no such error code")
        data = ErrorData(str(code), message, usually if retryable is None else retryable, details)
        return self.create_envelope("error", data, session_id, id=id)

    @staticmethod
    def serialize(envelope: Envelope | OutboundEnvelope) -> bytes:
        """Return the envelope as compact UTF-8 JSON; absent data, also raw, is left out, and raw data is not looked at.

        Raises UnsendableError, a ValueError, for data that JSON or its receivers cannot hold, and TypeError for a type
        that has no JSON.
        """
        try:
            payload = _encoder.encode(envelope)
        except UnicodeEncodeError:
            raise UnsendableError(repr(envelope.type), "a text holds a lone surrogate, which is no UTF-8") from None
        except RecursionError:
            raise UnsendableError(repr(envelope.type), "its data is nested too deeply") from None
        except ValueError as error:  # such as an integer of more digits than Python writes
            raise UnsendableError(repr(envelope.type), str(error)) from None
        data = envelope.data
        if data.__class__ is not msgspec.Raw:
            if len(payload) > MAX_DEPTH and is_too_deep(payload):
                raise UnsendableError(repr(envelope.type), "its data is nested too deeply")
            # msgspec writes NaN and the infinities as null.
            if b"null" in payload and holds_no_number(data):
                place = place_of_no_number(data)
                raise UnsendableError(repr(envelope.type), f"JSON has no NaN and no infinity - at `{place}`")
            if len(payload) > MAX_DIGITS and has_long_number(payload):
                raise UnsendableError(repr(envelope.type), f"a number has more than {MAX_DIGITS} digits")
        return payload

    @staticmethod
    def deserialize(frame: bytes) -> Envelope:
        """Read one text frame, whose UTF-8 the caller has checked.

        Raises InvalidMessageError for malformed JSON, a missing or wrongly typed field, or a field out of range.
        Unknown fields are ignored; of a duplicate key the last one counts. What is nested more than MAX_DEPTH levels
        deep is malformed: whoever keeps it shall be able to read it.
        """
        try:
            if len(frame) > MAX_DEPTH and is_too_deep(frame):
                raise RecursionError
            envelope = _decoder.decode(frame)
        except (msgspec.DecodeError, RecursionError) as error:
            reason = _reason(error)
            if reason in _OUT_OF_RANGE:
                reason = "Expected milliseconds since the epoch - at `$.timestamp`"
            raise InvalidMessageError(reason, readable_id(frame)) from None
        if envelope.type not in _KNOWN_TYPES and not _TYPE.fullmatch(envelope.type):
            raise InvalidMessageError("Expected 1 to 64 of `A-Z a-z 0-9 _ . : -` - at `$.type`", envelope.id)
        if envelope.room is not None and not is_room_name(envelope.room):
            raise InvalidMessageError("Expected 1 to 128 of `A-Z a-z 0-9 _ . : -` - at `$.room`", envelope.id)
        return envelope

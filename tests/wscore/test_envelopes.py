"""The envelope codec: what it reads, what it refuses and where, and that data passes through byte for byte."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wscore.codes import ErrorCode
from wscore.envelope import (
    MAX_SAFE_INTEGER,
    NO_DATA,
    Envelope,
    InvalidMessageError,
    MessageProtocol,
    decode_data,
)
from wscore.jsonvalues import MAX_DEPTH
from wscore.payloads import AudioChunk, ErrorData

NOW_MS = 1_700_000_000_000
protocol = MessageProtocol(lambda: NOW_MS)


def frame(fields: str) -> bytes:
    return b'{"type":"message","timestamp":1,' + fields.encode() + b"}"


def refusal(text: bytes) -> InvalidMessageError:
    with pytest.raises(InvalidMessageError) as caught:
        protocol.deserialize(text)
    return caught.value


def test_an_envelope_survives_the_round_trip():
    sent = protocol.create_envelope(
        "message", {"text": "héllo", "n": [1, None]}, "room", id="r-1", room="kitchen", user_id="alice"
    )
    data = msgspec.Raw('{"text":"héllo","n":[1,null]}'.encode())
    assert protocol.deserialize(protocol.serialize(sent)) == Envelope(
        "message", NOW_MS, "room", data, "r-1", "kitchen", "alice"
    )


def test_the_wire_form_is_compact_and_in_camel_case():
    sent = protocol.create_envelope("message", "hi", "room", id="1", user_id="alice")
    assert protocol.serialize(sent) == (
        b'{"type":"message","timestamp":1700000000000,"sessionId":"room","data":"hi","id":"1","userId":"alice"}'
    )


def test_absent_fields_are_left_out_and_null_data_is_not():
    assert protocol.serialize(protocol.create_envelope("ping")) == b'{"type":"ping","timestamp":1700000000000}'
    assert protocol.serialize(protocol.create_envelope("ping", None)) == (
        b'{"type":"ping","timestamp":1700000000000,"data":null}'
    )


def test_an_envelope_that_was_read_without_data_is_written_without_data():
    text = b'{"type":"ping","timestamp":1}'
    assert protocol.serialize(protocol.deserialize(text)) == text


@pytest.mark.parametrize(
    "data",
    ['{"b":1,  "a":[ 1.0, 1e2 ], "b":2}', '"\\u00e9é"', "12345678901234567890123", "0.10000000000000000001", "[]"],
)
def test_data_is_kept_byte_for_byte(data):
    envelope = protocol.deserialize(frame(f'"data":{data}'))
    assert bytes(memoryview(envelope.data)).decode() == data
    assert f'"data":{data}'.encode() in protocol.serialize(envelope)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "JSON is malformed: truncated, or a lone surrogate"),
        (b'{"type":"message"', "JSON is malformed: truncated, or a lone surrogate"),
        (b"hello", "JSON is malformed: invalid character (byte 0)"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b"{}", "Object missing required field `type`"),
        (b'{"type":"message"}', "Object missing required field `timestamp`"),
        (b'{"timestamp":1}', "Object missing required field `type`"),
        (b'{"type":1,"timestamp":1}', "Expected `str`, got `int` - at `$.type`"),
        (b'{"type":"","timestamp":1}', "Expected 1 to 64 of `A-Z a-z 0-9 _ . : -` - at `$.type`"),
        (b'{"type":"a b","timestamp":1}', "Expected 1 to 64 of `A-Z a-z 0-9 _ . : -` - at `$.type`"),
        (b'{"type":"a\\n","timestamp":1}', "Expected 1 to 64 of `A-Z a-z 0-9 _ . : -` - at `$.type`"),
        ('{"type":"é","timestamp":1}'.encode(), "Expected 1 to 64 of `A-Z a-z 0-9 _ . : -` - at `$.type`"),
        (b'{"type":"message","timestamp":"1"}', "Expected `int`, got `str` - at `$.timestamp`"),
        (b'{"type":"message","timestamp":null}', "Expected `int`, got `null` - at `$.timestamp`"),
        (b'{"type":"message","timestamp":true}', "Expected `int`, got `bool` - at `$.timestamp`"),
        (b'{"type":"message","timestamp":1.5}', "Expected `int`, got `float` - at `$.timestamp`"),
        (b'{"type":"message","timestamp":-1}', "Expected milliseconds since the epoch - at `$.timestamp`"),
        (frame('"sessionId":5'), "Expected `str | null`, got `int` - at `$.sessionId`"),
        (frame('"id":5'), "Expected `str | null`, got `int` - at `$.id`"),
        (frame('"userId":[]'), "Expected `str | null`, got `array` - at `$.userId`"),
        (frame('"data":NaN'), "JSON is malformed: invalid character (byte 39)"),
        (frame('"data":-Infinity'), "JSON is malformed: invalid character (byte 40)"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_where(text, reason):
    assert str(refusal(text)) == reason


@pytest.mark.parametrize("data", ['"\\ud800"', '"\\udc00"', '"\\ud800x"', '{"\\ud83d":1}'])
def test_a_lone_surrogate_is_refused(data):
    assert "JSON is malformed" in str(refusal(frame(f'"data":{data}')))


def test_of_a_duplicate_key_the_last_one_counts():
    envelope = protocol.deserialize(b'{"type":"ping","timestamp":1,"data":1,"type":"pong","timestamp":2,"data":2}')
    assert (envelope.type, envelope.timestamp, bytes(memoryview(envelope.data))) == ("pong", 2, b"2")


def test_unknown_fields_are_ignored():
    assert protocol.deserialize(frame('"seq":5,"x":{"type":1}')).type == "message"


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_refused_and_breaks_nothing(opened, closed):
    data = opened * 200_000 + "1" + closed * 200_000
    assert str(refusal(frame(f'"data":{data}'))) == "JSON is nested too deeply - at `$`"


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}"), ('{"]\\"":"[","a":', ',"b":"}"}')])
def test_a_message_is_as_deep_as_everybody_can_read_and_no_deeper(opened, closed):
    levels = MAX_DEPTH - 1  # and the envelope itself
    data = opened * levels + "1" + closed * levels
    assert protocol.deserialize(frame(f'"data":{data}')).type == "message"
    for field in ("data", "traceparent", "unknown"):
        assert str(refusal(frame(f'"{field}":[{data}]'))) == "JSON is nested too deeply - at `$`"


@pytest.mark.parametrize(
    "data", ['"' + "[" * 500 + '"', '"\\"' + "{" * 500 + '"', "[" + "[]," * 500 + "{}]", '{"' + "[" * 300 + '":["]"]}']
)
def test_brackets_in_texts_and_side_by_side_make_no_depth(data):
    assert protocol.deserialize(frame(f'"data":{data}')).type == "message"


def test_what_is_no_json_is_malformed_and_not_deep():
    assert "malformed" in str(refusal(frame('"data":[' + "[]," * 300)))


@pytest.mark.parametrize(
    "data", [b'"\xff"', b'{"\xff":1}', b"[1e400]", b"[1" + b"0" * 400 + b".5]", b"[01]", b'"\\ud800"']
)
@pytest.mark.parametrize("size", [0, 10_000], ids=["small", "large"])
def test_raw_data_that_not_everybody_can_read_is_refused_whatever_its_size(data, size):
    raw = msgspec.Raw(b'["%b",%b]' % (b"x" * size, data))
    with pytest.raises(InvalidMessageError):
        decode_data(raw, msgspec.Raw)
    good = msgspec.Raw(b'["%b",1e300,{"a":[1E+299,12345678901234567890]}]' % (b"1e999" * size))
    assert decode_data(good, msgspec.Raw) is good


@pytest.mark.parametrize(
    "digits", [str(MAX_SAFE_INTEGER + 1), str(2**63), str(2**64), "1" + "0" * 30, "9" * 5000], ids=len
)
def test_a_timestamp_beyond_the_safe_integers_is_refused(digits):
    assert "at `$.timestamp`" in str(refusal(f'{{"type":"ping","timestamp":{digits}}}'.encode()))


def test_the_largest_safe_timestamp_is_read():
    assert protocol.deserialize(f'{{"type":"ping","timestamp":{MAX_SAFE_INTEGER}}}'.encode()).timestamp == 2**53 - 1


def test_an_id_may_have_64_characters_and_no_more():
    assert protocol.deserialize(frame(f'"id":"{"é" * 64}"')).id == "é" * 64
    error = refusal(frame(f'"id":"{"é" * 65}"'))
    assert (str(error), error.request_id) == ("Expected `str` of length <= 64 - at `$.id`", None)


def test_a_type_may_have_64_characters_and_no_more():
    assert protocol.deserialize(f'{{"type":"{"a" * 64}","timestamp":1}}'.encode()).type == "a" * 64
    assert "at `$.type`" in str(refusal(f'{{"type":"{"a" * 65}","timestamp":1}}'.encode()))


def test_a_refusal_carries_the_id_of_the_request_if_it_could_be_read():
    assert refusal(b'{"type":"a b","timestamp":1,"id":"r-1"}').request_id == "r-1"
    assert refusal(b'{"type":"ping","timestamp":-1,"id":"r-2"}').request_id == "r-2"


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def test_data_is_decoded_as_its_type():
    chunk = decode_data(raw({"audioData": "AAAA", "sequenceNumber": 3, "extra": 1}), AudioChunk)
    assert chunk == AudioChunk("AAAA", 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"audioData": "AAAA"}, "Object missing required field `sequenceNumber` - at `$.data`"),
        ({"audioData": "AAAA", "sequenceNumber": "3"}, "Expected `int`, got `str` - at `$.data.sequenceNumber`"),
        ([], "Expected `object`, got `array` - at `$.data`"),
        (None, "Expected `object`, got `null` - at `$.data`"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_place(data, reason):
    with pytest.raises(InvalidMessageError) as caught:
        decode_data(raw(data), AudioChunk, request_id="r-1")
    assert (str(caught.value), caught.value.request_id) == (reason, "r-1")


def test_absent_data_counts_as_null():
    assert decode_data(NO_DATA, dict | None) is None
    with pytest.raises(InvalidMessageError, match=r"at `\$\.data`"):
        decode_data(NO_DATA, AudioChunk)


def test_raw_data_is_placed_as_it_is():
    data = msgspec.Raw(b'{"a" : 1}')
    assert b'"data":{"a" : 1}' in protocol.serialize(protocol.create_envelope("message", data))
    assert b"data" not in protocol.serialize(protocol.create_envelope("message", msgspec.Raw()))


@pytest.mark.parametrize("value", [object(), {1, 2}.__iter__(), float])
def test_a_value_that_json_cannot_hold_is_refused(value):
    with pytest.raises((TypeError, ValueError)):
        protocol.serialize(protocol.create_envelope("message", value))


def test_an_error_envelope_takes_retryable_from_the_table():
    error = protocol.create_error_envelope(ErrorCode.RATE_LIMITED, "slow down", "room", id="r-1", details={"a": 1})
    assert (error.type, error.session_id, error.id) == ("error", "room", "r-1")
    assert error.data == ErrorData(ErrorCode.RATE_LIMITED, "slow down", True, {"a": 1})
    plain = protocol.create_error_envelope(ErrorCode.FORBIDDEN, "no")
    assert json.loads(protocol.serialize(plain))["data"] == {"code": "FORBIDDEN", "message": "no", "retryable": False}


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\typeimsa01-eud8 ', max_size=80).map(str.encode))
def test_any_bytes_give_an_envelope_or_invalid_message(text):
    try:
        outcome = protocol.deserialize(text)
    except InvalidMessageError as error:
        outcome = str(error)
    assert isinstance(outcome, Envelope) or outcome


@settings(max_examples=100, deadline=None)
@given(
    fields=st.fixed_dictionaries(
        {
            "type": st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True),
            "timestamp": st.integers(0, MAX_SAFE_INTEGER),
        },
        optional={"sessionId": TEXT, "id": TEXT, "userId": TEXT, "data": VALUES},
    ),
    ascii_only=st.booleans(),
)
def test_any_valid_envelope_keeps_its_fields(fields, ascii_only):
    text = json.dumps(fields, ensure_ascii=ascii_only).encode()
    assert json.loads(protocol.serialize(protocol.deserialize(text))) == fields

"""What each protocol's frames say, how a message becomes one, and what is answered of itself."""

from __future__ import annotations

import itertools
import json

import cbor2
import msgspec
import pytest

from wscore.envelope import InvalidMessageError
from wscore.errors import ConfigError
from wscore.foreign import Kind, ProtocolName, ProtocolSettings, is_ours, lacks_token
from wscore.foreign.binary import bytes_of_base64, bytes_of_hex, decoded, hex_dump
from wscore.foreign.renumbering import FreshIds, first_free_id

NOW_MS = 1_700_000_000_000


def adapter_of(name: str, **settings):
    return ProtocolSettings(name=ProtocolName(name), **settings).adapter(lambda: NOW_MS)


def ids():
    numbers = itertools.count(1)
    return lambda: str(next(numbers))


# Protocol, frame, kind, type, id, data, answer.
READ = [
    ("wsctl", '{"type":"a","timestamp":1,"data":{"x":1}}', Kind.MESSAGE, "a", None, '{"x":1}', None),
    ("wsctl", '{"type":"a","timestamp":1,"id":"7"}', Kind.REPLY, "a", "7", "", None),
    ("json", '{"event":"news","payload":{"x":1.10}}', Kind.MESSAGE, "news", None, '{"x":1.10}', None),
    ("json", '{"op":10,"d":1}', Kind.MESSAGE, "10", None, "1", None),
    ("json", '{"type":"a","requestId":7,"data":null}', Kind.REPLY, "a", "7", "null", None),
    ("json", "[1,2]", Kind.MESSAGE, "", None, "[1,2]", None),
    ("raw", b"\x00", Kind.MESSAGE, "binary", None, "", None),
    ("graphql-ws", '{"type":"connection_ack"}', Kind.GREETING, "connection_ack", None, "", None),
    ("graphql-ws", '{"type":"ping"}', Kind.HEARTBEAT, "ping", None, "", '{"type":"pong"}'),
    (
        "graphql-ws",
        '{"type":"next","id":"1","payload":{"data":{"a":1}}}',
        Kind.REPLY,
        "next",
        "1",
        '{"data":{"a":1}}',
        None,
    ),
    ("graphql-ws", '{"type":"complete","id":"1"}', Kind.MESSAGE, "complete", "1", "", None),
    ("socketio", '0{"sid":"x","pingInterval":25000,"pingTimeout":20000}', Kind.CONTROL, "open", None, None, "40"),
    ("socketio", '40{"sid":"y"}', Kind.GREETING, "connect", None, '{"sid":"y"}', None),
    ("socketio", '44{"message":"no"}', Kind.REFUSAL, "connect_error", None, '{"message":"no"}', None),
    ("socketio", "2", Kind.HEARTBEAT, "ping", None, "", "3"),
    ("socketio", '42["news",{"x":1}]', Kind.MESSAGE, "news", None, '{"x":1}', None),
    ("socketio", '42/admin,12["news",1,2]', Kind.MESSAGE, "news", "12", "[1,2]", None),
    ("socketio", '4312["yes"]', Kind.REPLY, "ack", "12", '"yes"', None),
    ("socketio", '451-["file",{"_placeholder":true,"num":0}]', Kind.MESSAGE, "file", None, None, None),
    ("socketio", b"\x01", Kind.MESSAGE, "binary", None, "", None),
    (
        "phoenix",
        '["1","1","room:lobby","phx_reply",{"status":"ok","response":{}}]',
        Kind.GREETING,
        "phx_reply",
        "1",
        None,
        None,
    ),
    ("phoenix", '["1","1","room:lobby","phx_reply",{"status":"error"}]', Kind.REFUSAL, "phx_reply", "1", None, None),
    (
        "phoenix",
        '["1","4","room:lobby","phx_reply",{"status":"ok"}]',
        Kind.REPLY,
        "phx_reply",
        "4",
        '{"status":"ok"}',
        None,
    ),
    ("phoenix", '[null,null,"room:lobby","new_msg",{"body":"x"}]', Kind.MESSAGE, "new_msg", None, '{"body":"x"}', None),
    ("phoenix", '[null,"9","phoenix","phx_reply",{"status":"ok"}]', Kind.HEARTBEAT, "pong", "9", "", None),
    ("jsonrpc", '{"jsonrpc":"2.0","id":3,"result":null}', Kind.REPLY, "result", "3", "null", None),
    ("jsonrpc", '{"jsonrpc":"2.0","id":3,"error":{"code":-1}}', Kind.REPLY, "error", "3", '{"code":-1}', None),
    ("jsonrpc", '{"jsonrpc":"2.0","method":"tick","params":[1]}', Kind.MESSAGE, "tick", None, "[1]", None),
]


@pytest.mark.parametrize(("name", "frame", "kind", "type", "id", "data", "answer"), READ)
def test_a_frame_is_read_as_its_protocol_has_it(name, frame, kind, type, id, data, answer):
    reading = adapter_of(name).read(frame)
    assert (reading.kind, reading.answer) == (kind, answer)
    assert reading.message is not None
    assert (reading.message.type, reading.message.id) == (type, id)
    assert data is None or bytes(reading.message.data).decode() == data


# Protocol, line, type, frame.
COMPOSED = [
    ("raw", '{"type":"a"} ', "", '{"type":"a"} '),
    ("auto", "hello", "", "hello"),
    ("json", '{"event":"a"}', "message", '{"event":"a"}'),
    ("graphql-ws", "{ hello }", "", '{"type":"subscribe","id":"1","payload":{"query":"{ hello }"}}'),
    ("graphql-ws", '{"query":"{ a }"}', "", '{"type":"subscribe","id":"1","payload":{"query":"{ a }"}}'),
    ("graphql-ws", '{"type":"complete","id":"1"}', "", '{"type":"complete","id":"1"}'),
    ("socketio", "hello", "", '42["message","hello"]'),
    ("socketio", "42 apples", "", '42["message","42 apples"]'),
    ("socketio", '42["x"]', "", '42["x"]'),
    ("socketio", '{"type":"news","data":[1,{"a":2}],"id":"5"}', "", '425["news",1,{"a":2}]'),
    ("socketio", '{"type":"news","data":"x"}', "", '42["news","x"]'),
    ("phoenix", "hello", "", '["1","1","room:lobby","new_msg",{"body":"hello"}]'),
    ("phoenix", '{"type":"shout","data":{"a":1}}', "", '["1","1","room:lobby","shout",{"a":1}]'),
    ("phoenix", '["1","7","room:1","x",{}]', "", '["1","7","room:1","x",{}]'),
    (
        "jsonrpc",
        '{"type":"subtract","data":[42,23]}',
        "",
        '{"jsonrpc":"2.0","method":"subtract","params":[42,23],"id":1}',
    ),
    ("jsonrpc", '{"method":"a"}', "", '{"jsonrpc":"2.0","id":1,"method":"a"}'),
    ("jsonrpc", '{"method":"a","id":4}', "", '{"jsonrpc":"2.0","method":"a","id":4}'),
    ("jsonrpc", "hello", "say", '{"jsonrpc":"2.0","method":"say","params":["hello"],"id":1}'),
    ("wsctl", "hello", "", f'{{"type":"message","timestamp":{NOW_MS},"data":"hello"}}'),
]


@pytest.mark.parametrize(("name", "line", "type", "frame"), COMPOSED)
def test_a_line_becomes_a_frame_of_its_protocol(name, line, type, frame):
    assert adapter_of(name).compose(line, type, ids()) == frame


@pytest.mark.parametrize("name", [name for name in ProtocolName if name is not ProtocolName.RAW])
def test_what_was_wrapped_is_read_back(name):
    adapter = adapter_of(name)
    reading = adapter.read(adapter.wrap("subscribe", {"x": [1.5, "é"]}, "12"))
    assert reading.message is not None
    assert (reading.message.type, reading.message.id) == ("subscribe", "12")
    assert json.loads(bytes(reading.message.data)) == {"x": [1.5, "é"]}


@pytest.mark.parametrize("name", list(ProtocolName))
@pytest.mark.parametrize(
    "frame",
    ["", "4", "0", "0[", "42", "42[", "[]", "[1,2,3,4,5]", "{", "null", '"\\ud800"', "\ud800", '{"type":"\\ud800"}',
     "[" * 5000, b"", b"\xff" * 40, b"\xd9\xd9\xf7", b"\x81" * 3000, '43["a"]', '{"id":{}}', '0{"pingInterval":"x"}',
     '0{"pingInterval":1e999}'],
)  # fmt: skip
def test_no_frame_makes_a_reader_fail(name, frame):
    assert isinstance(adapter_of(name).read(frame).kind, Kind)


def test_first_frames_subprotocols_and_the_heartbeat_are_data():
    graphql = adapter_of("graphql-ws", hello='{"token":"t"}')
    assert graphql.first == ('{"type":"connection_init","payload":{"token":"t"}}',)
    assert graphql.subprotocols == ("graphql-transport-ws",)
    phoenix = adapter_of("phoenix", channel="room:7", hello='{"a":1}')
    assert phoenix.first == ('["1","1","room:7","phx_join",{"a":1}]',)
    assert phoenix.heartbeat is not None
    assert phoenix.heartbeat.frame("5") == '[null,"5","phoenix","heartbeat",{}]'
    assert adapter_of("socketio", channel="/chat", hello='{"a":1}').read('0{"sid":"x"}').answer == '40/chat,{"a":1}'
    opened = adapter_of("socketio").read('0{"sid":"x","pingInterval":25000,"pingTimeout":20000}')
    assert opened.silence_s == 45


def test_settings_describe_any_other_protocol():
    adapter = adapter_of(
        "json", type_key="head.kind", id_key="head.nr", data_key="body", on_open=("hi",), greeting="welcome",
        heartbeat="beep", heartbeat_every_s=5, beat="are-you-there", beat_answer="yes",
    )  # fmt: skip
    assert adapter.first == ("hi",)
    assert adapter.awaits_greeting
    assert adapter.read('{"head":{"kind":"welcome"}}').kind is Kind.GREETING
    assert adapter.read("are-you-there").answer == "yes"
    assert adapter.read('{"head":{"kind":"are-you-there"}}').answer == "yes"
    assert adapter.heartbeat is not None
    assert (adapter.heartbeat.interval_s, adapter.heartbeat.frame("1")) == (5, "beep")
    frame = adapter.compose('{"type":"say","data":"x","id":"3"}', "", ids())
    assert frame == '{"type":"say","data":"x","id":"3"}'  # an object goes as it is
    assert adapter.compose("x", "say", ids()) == '{"head":{"kind":"say"},"body":"x"}'
    assert adapter.wrap("say", "x", "3") == '{"head":{"kind":"say","nr":"3"},"body":"x"}'


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"name": ProtocolName.RAW, "type_key": "a"}, "--type-key"),
        ({"name": ProtocolName.JSON, "type_key": "a..b"}, "--type-key"),
        ({"name": ProtocolName.JSON, "channel": "x"}, "--channel"),
        ({"name": ProtocolName.PHOENIX, "hello": "{"}, "--hello"),
        ({"name": ProtocolName.WSCTL, "greeting": "x"}, "--protocol"),
        ({"heartbeat": "x", "heartbeat_every_s": 0}, "--heartbeat-every"),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_the_name_of_their_option(settings, option):
    with pytest.raises(ConfigError) as caught:
        ProtocolSettings(**settings)
    assert caught.value.setting == option


def test_a_socketio_id_is_a_number_and_others_say_so():
    with pytest.raises(InvalidMessageError, match="whole number"):
        adapter_of("socketio").wrap("a", None, "x")
    assert adapter_of("socketio").request_id("abc", 3) == "3"
    assert adapter_of("json").request_id("abc", 3) == "abc-3"


def test_a_server_of_ours_is_known_by_its_greeting_or_its_refusal_and_by_nothing_else():
    assert is_ours('{"type":"session_created","timestamp":1,"data":{}}')
    refusal = '{"type":"error","timestamp":1,"data":{"code":"AUTH_REQUIRED","message":"x"}}'
    assert is_ours(refusal)
    assert lacks_token(refusal)
    for frame in ('{"type":"session_created"}', '{"type":"error","timestamp":1,"data":{"code":"X"}}', "0{}", b"\x80"):
        assert not is_ours(frame)
        assert not lacks_token(frame)


def shared_lists(depth: int) -> bytes:
    """Lists that each have the one before ten times by reference: 10 ** depth values in 35 bytes a list."""
    lists = [b"\x8a" + b"\x01" * 10, *(b"\x8a" + bytes([0xD8, 0x1D, number]) * 10 for number in range(depth - 1))]
    return bytes([0x80 + depth]) + b"".join(b"\xd8\x1c" + each for each in lists)


@pytest.mark.parametrize(
    "bomb",
    [
        shared_lists(4),
        b"\x81\xa1" + shared_lists(4) + b"\x01",
        shared_lists(4).replace(b"\xd8\x1d", b"\xd9\x00\x1d"),
        b"\x81\xd9\x01\x00\x98\x20\x79\x01\x00" + b"a" * 256 + b"\xd8\x19\x00" * 31,
    ],
    ids=["values", "in a key", "long tags", "texts"],
)
def test_cbor_that_repeats_by_reference_is_not_unfolded(bomb):
    assert decoded(bomb) is None


def test_messagepack_and_cbor_are_found_and_anything_else_is_not():
    value = {"type": "news", "data": [1, "é", None]}
    assert decoded(msgspec.msgpack.encode(value)) == ("msgpack", msgspec.json.encode(value))
    assert decoded(cbor2.dumps(value)) == ("cbor", msgspec.json.encode(value))
    assert decoded(cbor2.dumps({1: b"\xff"})) == ("cbor", b'{"1":"/w=="}')
    for other in (b"", b"\x01", b"hello", b"\x81", cbor2.dumps(value) + b"\x00", b"\x89PNG\r\n\x1a\n"):
        assert decoded(other) is None
    reading = adapter_of("auto").read(cbor2.dumps(value))
    assert reading.message is not None
    assert reading.message.type == "news"


def test_bytes_are_written_as_hex_and_base64_and_shown_as_both():
    assert bytes_of_hex("0x01 ff:0A", "--hex") == b"\x01\xff\x0a"
    assert bytes_of_base64("_w", "--base64") == b"\xff"
    for read, text in ((bytes_of_hex, "0"), (bytes_of_hex, "xy"), (bytes_of_base64, "*")):
        with pytest.raises(ConfigError):
            read(text, "--x")
    assert hex_dump(b"AB\x00" + b"c" * 14, most=16).splitlines() == [
        "00000000  41 42 00 63 63 63 63 63 63 63 63 63 63 63 63 63  |AB.ccccccccccccc|",
        "… 1 bytes more",
    ]


@pytest.mark.parametrize(
    ("name", "frame", "renumbered"),
    [
        (
            ProtocolName.GRAPHQL_WS,
            '{"id":"s","type":"subscribe","payload":{"n":1.10}}',
            '{"id":"77","type":"subscribe","payload":{"n":1.10}}',
        ),
        (ProtocolName.SOCKETIO, '42/room,5["say",{"n":1.10}]', '42/room,77["say",{"n":1.10}]'),
        (ProtocolName.SOCKETIO, '42["say",5]', '42["say",5]'),
        (ProtocolName.PHOENIX, '["1","5","room:1","say",{"n":1.10}]', '["1","77","room:1","say",{"n":1.10}]'),
        (
            ProtocolName.JSONRPC,
            '{"jsonrpc":"2.0","method":"add","params":[1.10],"id":5}',
            '{"jsonrpc":"2.0","method":"add","params":[1.10],"id":77}',
        ),
    ],
)
def test_a_frame_gets_another_id_and_is_the_same_else(name, frame, renumbered):
    adapter = ProtocolSettings(name=name).adapter(lambda: 0)
    assert adapter.renumber is not None
    changed = adapter.renumber(frame, "77")
    assert changed == renumbered
    if frame != renumbered:
        assert adapter.read(changed).message.id == "77"


def test_an_id_is_kept_until_it_is_used_again():
    ids = FreshIds(first_free_id([]))
    assert [ids.of("a"), ids.of("b"), ids.of("a"), ids.of("a", refers=True)] == ["a", "b", "1000000", "1000000"]
    assert ids.of("b", refers=True) == "b"
    read = ProtocolSettings(name=ProtocolName.JSONRPC).adapter(lambda: 0).read
    assert first_free_id([read('{"jsonrpc":"2.0","method":"x","id":5000000}'), read("x")]) == 5_000_001


@pytest.mark.parametrize(("timeout_ms", "silence_s"), [(60_000, 60), (0, None), (-1, None)])
def test_a_heartbeat_of_no_time_is_none(timeout_ms, silence_s):
    data = {"sessionId": "s", "userId": "u", "isGuest": True, "connectionId": "c", "limits": {"maxMessageBytes": 9}}
    data["heartbeat"] = {"intervalMs": 0, "timeoutMs": timeout_ms}
    greeting = json.dumps({"type": "session_created", "timestamp": 1, "data": data})
    assert adapter_of("wsctl").read(greeting).silence_s == silence_s

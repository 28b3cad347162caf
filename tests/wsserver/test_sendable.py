"""What an app sends is checked at the call; what a client sends, at the door."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from wscore.codes import ErrorCode
from wscore.envelope import NO_DATA, UnsendableError
from wscore.jsonvalues import MAX_DEPTH, has_long_number
from wsserver import App, Context, PublishResult, fan_out
from wsserver.settings import Profile

HANG_S = 20


class Reading(msgspec.Struct):
    name: str
    value: float | None = None
    more: list[Any] = []


@dataclass
class Point:
    x: float
    y: float


def deep(levels: int) -> list[Any]:
    data: list[Any] = []
    for _ in range(levels):
        data = [data]
    return data


class Sub(dict):  # type: ignore[type-arg]
    """A dict all the same."""


@pytest.fixture
async def room(start_server, open_raw, engine):
    """A server, a client in the session `room`, and its connection's id."""
    server = await start_server(engine=engine)
    client = await open_raw(server.url, session="room")
    return server.hub, client, client.greeting["data"]["connectionId"]


BAD_TYPES = ["", "a b", "ä", "x" * 200, "a\n", None, 7]
BAD_DATA = {
    "NaN": (math.nan, r"no NaN and no infinity - at `\$\.data`"),
    "infinity": ({"a": [1, -math.inf]}, r"no NaN and no infinity - at `\$\.data\.a\[1\]`"),
    "NaN in a Struct": (Reading("x", math.nan), r"no infinity - at `\$\.data\.value`"),
    "NaN beside null": (Reading("x", None, [None, {"y": math.nan}]), r"no infinity - at `\$\.data\.more\[1\]\.y`"),
    "NaN in a dataclass": (Point(1, math.nan), r"no infinity - at `\$\.data\.y`"),
    "NaN in a tuple": ((1, (2, math.nan)), r"no infinity - at `\$\.data\[1\]\[1\]`"),
    "NaN in a subclass": (Sub(a=math.nan), r"no infinity - at `\$\.data\.a`"),
    "NaN beside raw": ({"r": msgspec.Raw(b"null"), "n": math.nan}, r"no infinity - at `\$\.data\.n`"),
    "lone surrogate": ({"text": "a\ud800"}, "a lone surrogate"),
    "surrogate as a key": ({"\udfff": 1}, "a lone surrogate"),
    "huge int": ({"n": 10**400}, "a number has more than 308 digits"),
    "huge negative int": ([-(10**5000)], "digits"),
    "too deep": (deep(100_000), "nested too deeply"),
    "a little too deep": (deep(MAX_DEPTH), "nested too deeply"),
    "raw, too deep": (msgspec.Raw(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH), "nested too deeply"),
    "raw that is not UTF-8": (msgspec.Raw(b'"\xff"'), "not UTF-8"),
    "raw garbage": (msgspec.Raw(b"garbage"), "its raw data is no JSON"),
    "raw 1e400": (msgspec.Raw(b"[1e400]"), "its raw data is no JSON that can be read: Number out of range"),
}
GOOD_DATA = {
    "null": None,
    "nulls": {"a": None, "b": [None, 1.5, 10**300], "text": "null 1" + "1" * 400},
    "struct": Reading("null"),
    "raw": msgspec.Raw(b'{"x": [null, 1e308]}'),
    "raw within": {"r": msgspec.Raw(b"[null]"), "n": None},
    "digits in text": ["x" * 500, '"\\' + "9" * 400 + '"', "null"],
    "false alarm": {"text": "nullify", "n": 1},
}


@pytest.mark.parametrize("type", BAD_TYPES, ids=repr)
async def test_a_type_that_no_receiver_reads_is_refused(room, type):
    hub, client, me = room
    for call in (lambda: hub.send(me, type), lambda: hub.publish(type, session="room")):
        with pytest.raises(UnsendableError, match="cannot be sent: a type is 1 to 64 of") as raised:
            call()
        assert isinstance(raised.value, ValueError)
    assert hub.send(me, "x" * 64) is True
    assert (await client.receive())["type"] == "x" * 64


@pytest.mark.parametrize("type", ["session_created", "ping", "pong", "auth_refresh", "auth_refreshed", "disconnect"])
async def test_a_type_of_the_server_is_refused(room, type):
    hub, _, me = room
    for call in (lambda: hub.send(me, type), lambda: hub.publish(type, session="room")):
        with pytest.raises(UnsendableError, match="it belongs to the server; choose another"):
            call()
    with pytest.raises(UnsendableError, match=r"use ctx\.error or hub\.send_error"):
        hub.send(me, "error", {"code": "MINE"})


@pytest.mark.parametrize("name", BAD_DATA)
async def test_data_that_receivers_cannot_read_is_refused_at_the_call(room, name):
    hub, client, me = room
    data, problem = BAD_DATA[name]
    for call in (lambda: hub.send(me, "x", data), lambda: hub.publish("x", data, session="room")):
        with pytest.raises(UnsendableError, match=problem):
            call()
    with pytest.raises(TypeError):
        hub.send(me, "x", {"o": object()})
    hub.send(me, "end")
    assert (await client.receive())["type"] == "end"


@pytest.mark.parametrize("name", GOOD_DATA)
async def test_data_that_only_looks_odd_is_sent(room, name):
    hub, client, me = room
    assert hub.send(me, "x", GOOD_DATA[name])
    assert (await client.receive())["data"] == msgspec.json.decode(msgspec.json.encode(GOOD_DATA[name]))


async def test_no_data_raw_or_not_is_left_out(room):
    hub, client, me = room
    for data in (msgspec.UNSET, NO_DATA, msgspec.Raw(b"")):
        assert hub.send(me, "x", data)
        assert "data" not in await client.receive()


@pytest.mark.parametrize("id", ["x" * 65, 7, b"x"], ids=repr)
async def test_an_id_that_no_message_may_have_is_refused(room, id):
    hub, client, me = room
    with pytest.raises(UnsendableError, match="an id is a string of at most 64 characters"):
        hub.send(me, "x", id=id)
    assert hub.send(me, "x", id="y" * 64)
    assert (await client.receive())["id"] == "y" * 64


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1, True, 1000.0, "1000", None])
async def test_a_close_code_that_no_frame_may_carry_is_refused_and_closes_nothing(room, code):
    hub, client, me = room
    with pytest.raises(UnsendableError, match=r"close code .* cannot be sent: an app's own codes are 3000 to 4999"):
        hub.close(me, code)
    await client.send("ping")
    assert (await client.receive())["type"] == "pong"


@pytest.mark.parametrize(
    ("reason", "problem"),
    [("x" * 124, "it has 124 bytes as UTF-8"), ("ü" * 62, "it has 124 bytes"), ("\ud800", "it holds a lone surrogate")],
)
async def test_a_close_reason_that_a_frame_has_no_room_for_is_refused(room, reason, problem):
    hub, client, me = room
    with pytest.raises(UnsendableError, match=f"close reason cannot be sent: {problem}"):
        hub.close(me, 4000, reason)
    assert hub.close(me, 4000, "ü" * 61)
    assert (await client.received_until_closed())[1:] == (4000, "ü" * 61)


async def test_what_a_handler_cannot_send_is_its_failure_and_nobody_elses(start_server, open_raw, engine):
    app = App()

    @app.on("reply")
    async def reply(ctx: Context) -> None:
        ctx.reply("no type")

    @app.on("broadcast")
    def broadcast(ctx: Context) -> None:
        ctx.publish("x", math.nan)

    @app.on("close")
    def close(ctx: Context) -> None:
        ctx.close(999)

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    for kind in ("reply", "broadcast", "close"):
        await client.send(kind, id=kind)
        answer = await client.receive()
        assert (answer["id"], answer["data"]["code"]) == (kind, "PROCESSING_ERROR")
    assert server.metrics.handlers_failed.value == 3


async def test_an_error_code_that_does_not_exist_is_refused(room):
    hub, client, me = room
    with pytest.raises(UnsendableError, match="'MINE' cannot be sent: there is no such error code"):
        hub.send_error(me, "MINE", "x")
    with pytest.raises(UnsendableError, match="no NaN"):
        hub.send_error(me, ErrorCode.FORBIDDEN, "x", {"limit": math.nan})
    assert hub.send_error(me, ErrorCode.FORBIDDEN, "not you", {"limit": 1})
    error = await client.receive()
    assert "id" not in error
    assert error["data"] == {"code": "FORBIDDEN", "message": "not you", "retryable": False, "details": {"limit": 1}}


class Wrapped(msgspec.Struct):
    inner: msgspec.Raw


UNREADABLE = [
    "1e400",
    "-1e400",
    '[1,2,{"a":1e309}]',
    "1" * 309,
    "1" * 5000,
    "-" + "9" * 5000,
    "0." + "1" * 5000,
    "[" + "1" * 4400 + "]",
    '{"a":"x","b":' + "7" * 400 + "}",
]
READABLE = [
    "1e308",
    "1e-400",
    "1" * 308,
    '"1e400"',
    '"' + "1" * 5000 + '"',
    '"\\"' + "1" * 400 + '"',
    '{"' + "1" * 400 + '":1}',
    '["\\\\","' + "2" * 400 + '"]',
    "[" + "123456789," * 100 + "1]",
]


@pytest.mark.parametrize("number", UNREADABLE, ids=lambda text: text[:20])
async def test_a_number_that_breaks_receivers_is_refused_at_the_door(start_server, open_raw, engine, number):
    app = App()
    app.on("message")(fan_out)

    @app.on("wrapped")
    async def wrapped(ctx: Context, data: Wrapped) -> None:
        ctx.publish("wrapped", data.inner)

    @app.on("any")
    async def anything(ctx: Context, data: Any) -> None:
        ctx.publish("any", data)

    server = await start_server(app, engine=engine)
    client, other = await open_raw(server.url, session="room"), await open_raw(server.url, session="room")
    for kind, data in (("message", number), ("wrapped", f'{{"inner":{number}}}'), ("any", number)):
        await client.ws.send(f'{{"type":"{kind}","timestamp":1,"data":{data},"id":"q"}}')
        error = await client.receive()
        assert (error["type"], error["id"], error["data"]["code"]) == ("error", "q", "INVALID_MESSAGE")
        assert "`$.data" in error["data"]["message"]
    await other.send("ping")
    assert (await other.receive())["type"] == "pong"
    assert server.metrics.errors["INVALID_MESSAGE"].value == 3


@pytest.mark.parametrize("text", READABLE, ids=lambda text: text[:20])
async def test_what_only_looks_like_such_a_number_goes_through_byte_for_byte(start_server, open_raw, engine, text):
    client = await open_raw((await start_server(engine=engine)).url)
    await client.ws.send(f'{{"type":"message","timestamp":1,"data":{text}}}')
    assert f'"data":{text}' in await client.ws.recv()


@pytest.mark.parametrize("text", [*UNREADABLE, *READABLE], ids=lambda text: text[:20])
def test_long_numbers_are_found_wherever_they_stand(text):
    expected = text in UNREADABLE and "e" not in text
    for before in range(0, 40, 3):
        document = "[" + " " * before + text + "," + "0" * 1 + "]"
        json.loads(document, parse_int=str)
        assert has_long_number(document.encode()) is expected


@pytest.mark.parametrize("profile", ["dev", "prod"])
async def test_a_type_without_a_handler_is_answered_if_it_has_an_id_or_in_dev(
    start_server, open_raw, engine, profile, caplog
):
    app = App()

    @app.on("chat.say")
    async def say(ctx: Context) -> None: ...

    server = await start_server(app, engine=engine, profile=Profile(profile))
    client = await open_raw(server.url)
    await client.send("chat.sya", id="1")
    error = await client.receive()
    assert (error["id"], error["data"]["code"]) == ("1", "INVALID_MESSAGE")
    suggestion = "; did you mean chat.say?" if profile == "dev" else ""  # strangers learn no names
    assert error["data"]["message"] == f"no handler for chat.sya{suggestion} - at `$.type`"
    await client.send("zzz")
    if profile == "dev":
        error = await client.receive()
        assert error["data"]["message"] == "no handler for zzz - at `$.type`"
        assert "id" not in error
    # What clients of the seed send, whatever the app makes of it, is ignored as in the seed.
    for kind in ("message", "audio_chunk", "text_input"):
        await client.send(kind)
    await client.send("audio_chunk", id="2")
    assert (await client.receive())["id"] == "2"
    assert server.metrics.dropped["no-handler"].value == 6


async def test_every_call_after_the_connection_is_gone_gives_false_and_raises_nothing(start_server, open_raw, engine):
    app = App()
    kept: list[Context] = []

    @app.on("keep")
    def keep(ctx: Context) -> None:
        kept.append(ctx)
        ctx.reply("kept")

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url, session="room")
    await client.send("keep", id="1")
    await client.receive()
    (ctx,) = kept
    me = ctx.connection_id

    def calls() -> list[object]:
        return [
            ctx.reply("x", 1),
            ctx.error(ErrorCode.FORBIDDEN, "x"),
            ctx.send(me, "x", 1),
            ctx.publish("x", 1),
            ctx.publish("x", 1, lossy=True),
            ctx.close(),
            ctx.hub.send(me, "x", 1, id="y", lossy=True),
            ctx.hub.send_error(me, ErrorCode.FORBIDDEN, "x"),
            ctx.hub.publish("x", 1, session="room"),
            ctx.hub.close(me, 4000, "x"),
            # Nobody sees any of it, so nothing is wrong with it.
            ctx.reply("no type", math.nan),
            ctx.error("NONE", "x"),  # type: ignore[arg-type]
            ctx.close(999),
            ctx.hub.send(me, "session_created", object(), id="x" * 65),
            ctx.hub.close(me, 999, "x" * 124),
        ]

    assert ctx.close(4001, "bye")
    # What is published to a session has no receivers to speak of: they may be anywhere.
    all_gone = [PublishResult if number in (3, 4, 8) else False for number in range(15)]

    def outcomes() -> list[object]:
        return [PublishResult if isinstance(result, PublishResult) else result for result in calls()]

    assert outcomes() == all_gone  # the client has not answered yet, so the session has a member
    await client.received_until_closed()
    await server.connections.wait_empty()
    assert outcomes() == all_gone
    assert (ctx.session_id, ctx.principal.user_id, ctx.request_id) == ("room", client.greeting["data"]["userId"], "1")
    await server.stop()
    assert outcomes() == all_gone

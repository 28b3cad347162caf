"""The client against the project's own server: talking, asking, staying alive, and leaving nothing behind."""

from __future__ import annotations

import asyncio
import json
import time

import msgspec
import pytest

from wsclient import (
    AuthenticationRefusedError,
    Client,
    ClientState,
    ConnectionClosedError,
    ConnectionFailedError,
    DialOptions,
    GuestTokens,
    Handshake,
    NoReplyError,
    NotConnectedError,
    Opened,
    Received,
    Sent,
    ServerError,
    StaticToken,
)
from wscore.codes import ErrorCode
from wscore.envelope import InvalidMessageError
from wscore.heartbeat import HeartbeatPolicy
from wscore.payloads import AudioChunk, SessionCreated, Transcript
from wsserver import App, Context

HANG_S = 20


def now_ms() -> int:
    return time.time_ns() // 1_000_000


QUICK = HeartbeatPolicy(interval_ms=150, timeout_ms=900)


@pytest.fixture
def app() -> App:
    """An app that answers each way that a client has to understand."""
    app = App()
    kept: list[Context] = []

    @app.on("echo")
    def echo(ctx: Context, data: msgspec.Raw) -> None:
        ctx.reply("echoed", data)

    @app.on("keep")
    def keep(ctx: Context) -> None:
        kept.append(ctx)

    @app.on("release")
    def release(ctx: Context) -> None:
        for number, other in enumerate(reversed(kept)):
            other.reply("kept", number)
        kept.clear()

    @app.on("refuse")
    def refuse(ctx: Context) -> None:
        ctx.error(ErrorCode.FORBIDDEN, "not you", {"why": 1})

    @app.on("say")
    def say(ctx: Context, data: list[str]) -> None:
        for type in data:
            ctx.reply(type, {"text": type, "isFinal": True})

    @app.on("close")
    def close(ctx: Context, code: int) -> None:
        ctx.reply("last")
        ctx.close(code, "as asked")

    return app


async def test_connecting_gives_the_session_of_the_greeting(start_server):
    server = await start_server()
    async with Client(server.url, session_id="room-7") as client:
        assert client.state is ClientState.OPEN
        assert client.session is not None
        assert (client.session.session_id, client.session.is_guest) == ("room-7", True)
        assert client.session.heartbeat.timeout_ms == 60_000
        assert await client.expect("session_created", SessionCreated) == client.session
    assert client.state is ClientState.CLOSED


async def test_a_message_reaches_everybody_in_the_session(start_server):
    server = await start_server()
    async with Client(server.url, session_id="room") as one, Client(server.url, session_id="room") as two:
        await one.send("message", {"text": "hi"})
        for client in (one, two):
            envelope = await client.receive("message", timeout_s=HANG_S)
            assert json.loads(bytes(envelope.data)) == {"text": "hi"}
            assert envelope.user_id == one.session.user_id


async def test_receiving_a_type_leaves_the_others_in_order(start_server, app):
    server = await start_server(app)
    async with Client(server.url) as client:
        await client.send("say", ["a", "b", "a", "c"])
        assert (await client.receive("c", timeout_s=HANG_S)).type == "c"
        assert [(await client.receive()).type for _ in range(4)] == ["session_created", "a", "b", "a"]


async def test_two_receivers_of_different_types_do_not_disturb_each_other(start_server, app):
    server = await start_server(app)
    async with Client(server.url) as client:
        late = asyncio.create_task(client.receive("late", timeout_s=HANG_S))
        early = asyncio.create_task(client.receive("early", timeout_s=HANG_S))
        await client.send("say", ["early", "late"])
        assert ((await early).type, (await late).type) == ("early", "late")


async def test_expected_data_comes_typed(start_server, app):
    server = await start_server(app)
    async with Client(server.url) as client:
        await client.send("say", ["transcript"])
        assert await client.expect("transcript", Transcript, timeout_s=HANG_S) == Transcript("transcript", True)


async def test_data_that_is_not_of_the_expected_type_is_named(start_server, app):
    server = await start_server(app)
    async with Client(server.url) as client:
        await client.send("say", ["transcript"])
        with pytest.raises(InvalidMessageError, match=r"missing required field `audioData` - at `\$\.data`"):
            await client.expect("transcript", AudioChunk, timeout_s=HANG_S)


async def test_nothing_in_time_is_an_error_that_says_what(start_server):
    server = await start_server()
    async with Client(server.url) as client:
        with pytest.raises(NoReplyError, match=r"no transcript within 0\.05 s"):
            await client.receive("transcript", timeout_s=0.05)
        assert (await client.receive()).type == "session_created"


async def test_replies_find_their_requests_in_any_order(start_server, app):
    server = await start_server(app)
    async with Client(server.url) as client:
        requests = [asyncio.create_task(client.request("keep", timeout_s=HANG_S)) for _ in range(3)]
        await asyncio.sleep(0)  # let them send
        echo = await client.request("echo", "first of all", timeout_s=HANG_S)
        assert bytes(echo.data) == b'"first of all"'
        await client.send("release")
        assert [bytes((await request).data) for request in requests] == [b"2", b"1", b"0"]
        assert [(await client.receive()).type] == ["session_created"]  # no reply went to the inbox


async def test_an_error_to_a_request_is_raised(start_server, app):
    server = await start_server(app)
    async with Client(server.url) as client:
        with pytest.raises(ServerError, match="FORBIDDEN: not you") as caught:
            await client.request("refuse", timeout_s=HANG_S)
        assert (caught.value.code, caught.value.retryable, caught.value.details) == ("FORBIDDEN", False, {"why": 1})
        with pytest.raises(ServerError, match="INVALID_MESSAGE"):
            await client.request("say", "not a list", timeout_s=HANG_S)
        assert client.state is ClientState.OPEN


async def test_a_reply_that_comes_too_late_is_an_ordinary_message(start_server, app):
    server = await start_server(app)
    async with Client(server.url) as client:
        with pytest.raises(NoReplyError, match=r"no reply to keep within 0\.05 s"):
            await client.request("keep", timeout_s=0.05)
        await client.send("release")
        assert bytes((await client.receive("kept", timeout_s=HANG_S)).data) == b"0"


async def test_a_request_ends_with_its_connection(start_server, app):
    server = await start_server(app)
    async with Client(server.url, reconnect=None) as client:
        request = asyncio.create_task(client.request("keep", timeout_s=HANG_S))
        await asyncio.sleep(0)
        await client.send("close", 4004)
        with pytest.raises(ConnectionClosedError, match=r"4004 kicked \(as asked\)"):
            await request


async def test_closing_ends_a_request_and_a_receive(start_server, app):
    server = await start_server(app)
    client = Client(server.url)
    await client.connect()
    waiting = [asyncio.create_task(client.request("keep")), asyncio.create_task(client.receive("never"))]
    await asyncio.sleep(0)
    await client.close()
    for task in waiting:
        with pytest.raises(ConnectionClosedError):
            await task


async def test_answering_pings_keeps_the_connection_beyond_the_timeout(start_server, record):
    server = await start_server(heartbeat=QUICK)
    client = Client(server.url, reconnect=None)
    events = record(client)
    async with client:
        pings = 0
        while pings < 10:  # 1.5 s of them; without answers the connection ends after 0.9 s
            event = await events.next(Received)
            pings += event.envelope.type == "ping"
        assert client.state is ClientState.OPEN
        assert len(events.of(Sent)) >= 9
        assert (await client.receive()).type == "session_created"
        with pytest.raises(NoReplyError):
            await client.receive("ping", timeout_s=0.01)


async def test_without_automatic_pongs_the_ping_is_for_the_caller(start_server):
    server = await start_server(heartbeat=QUICK)
    async with Client(server.url, auto_pong=False, reconnect=None) as client:
        assert (await client.receive("ping", timeout_s=HANG_S)).type == "ping"
        with pytest.raises(ConnectionClosedError) as caught:
            await client.receive("never", timeout_s=HANG_S)
        assert caught.value.code == 4002


async def test_a_refused_token_is_told_apart(start_server, user_token):
    server = await start_server()
    token = user_token()
    client = Client(server.url, token=StaticToken(token))
    with pytest.raises(AuthenticationRefusedError, match="the server refused the token: AUTH_INVALID") as caught:
        await client.connect()
    assert caught.value.code == "AUTH_INVALID"
    assert token not in f"{caught.value} {caught.value!r} {client!r}"
    assert client.state is ClientState.CLOSED


async def test_a_path_that_is_not_there_is_named_with_its_status(start_server):
    server = await start_server()
    url = server.url.replace("/socket.io/", "/elsewhere")
    with pytest.raises(ConnectionFailedError, match="the server answered HTTP 404") as caught:
        await Client(url).connect()
    assert caught.value.url == url


async def test_a_closed_port_is_named(start_server):
    server = await start_server()
    url = server.url
    await server.stop()
    with pytest.raises(ConnectionFailedError, match="connection refused; is the server running") as caught:
        await Client(f"{url}?token=hide-me").connect()
    assert "hide-me" not in f"{caught.value} {caught.value!r}"


async def test_iterating_ends_quietly_at_a_normal_closure(start_server, app):
    server = await start_server(app)
    async with Client(server.url) as client:
        await client.send("close", 1000)
        async with asyncio.timeout(HANG_S):
            assert [envelope.type async for envelope in client] == ["session_created", "last"]


async def test_iterating_raises_at_any_other_end(start_server, app):
    server = await start_server(app)
    async with Client(server.url) as client:
        await client.send("close", 4004)
        envelopes = aiter(client)
        async with asyncio.timeout(HANG_S):
            assert [(await anext(envelopes)).type for _ in range(2)] == ["session_created", "last"]
            with pytest.raises(ConnectionClosedError) as caught:
                await anext(envelopes)
        assert str(caught.value) == "connection closed: 4004 kicked (as asked); Do not reconnect."


async def test_closing_leaves_no_task_behind(start_server):
    server = await start_server()
    before = asyncio.all_tasks()
    client = Client(server.url)
    await client.connect()
    assert asyncio.all_tasks() > before
    await client.close()
    assert asyncio.all_tasks() == before
    await client.close()  # a second time is nothing
    with pytest.raises(NotConnectedError):
        await client.send("message")


async def test_a_failed_connect_leaves_no_task_behind(start_server):
    server = await start_server()
    before = asyncio.all_tasks()
    with pytest.raises(AuthenticationRefusedError):
        await Client(server.url, token=StaticToken("nonsense")).connect()
    async with asyncio.timeout(HANG_S):
        while asyncio.all_tasks() != before:  # the aborted connection goes in the next turns of the loop
            await asyncio.sleep(0.01)


async def test_a_cancelled_receive_loses_nothing(start_server, app):
    server = await start_server(app)
    async with Client(server.url) as client:
        assert (await client.receive()).type == "session_created"
        before = asyncio.all_tasks()
        for type in (None, "c"):
            receive = asyncio.create_task(client.receive(type))
            await asyncio.sleep(0)
            receive.cancel()
            with pytest.raises(asyncio.CancelledError):
                await receive
        assert asyncio.all_tasks() == before
        await client.send("say", ["a", "b", "c"])
        assert [(await client.receive(timeout_s=HANG_S)).type for _ in range(3)] == ["a", "b", "c"]


async def test_the_watcher_sees_all_that_goes_over_the_wire(start_server, record):
    server = await start_server()
    client = Client(server.url, now_ms=lambda: 1_700_000_000_000, token=GuestTokens(now_ms))
    events = record(client)
    async with client:
        await client.send("message", "hi")
        await client.receive("message", timeout_s=HANG_S)
        assert [type(event) for event in events.events[:2]] == [Handshake, Opened]
    sent = '{"type":"message","timestamp":1700000000000,"data":"hi"}'
    assert [(event.text, event.at_ms, event.envelope.type) for event in events.of(Sent)] == [
        (sent, 1_700_000_000_000, "message")
    ]
    assert [event.envelope.type for event in events.of(Received)] == ["session_created", "message"]
    assert {event.at_ms for event in events.of(Received)} == {1_700_000_000_000}


async def test_a_header_can_carry_the_token(start_server, user_token, jwt_key):
    server = await start_server(jwt_key=jwt_key)
    token = user_token("carol")
    dial = DialOptions(headers={"Authorization": f"Bearer {token}"})
    assert token not in repr(dial)
    async with Client(server.url, token=StaticToken(""), dial=dial) as client:
        assert (client.session.user_id, client.session.is_guest) == ("carol", False)

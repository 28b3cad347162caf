"""The client against servers that greet oddly, send nonsense, flood or vanish."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from tests.tcpserver import tcp_server
from wsclient import (
    Client,
    ClientState,
    Closed,
    ConnectionClosedError,
    ConnectionFailedError,
    DialOptions,
    Handshake,
    Opened,
    Received,
    Reconnecting,
    StaticToken,
)
from wscore.codes import ErrorCode
from wscore.foreign import ProtocolName, ProtocolSettings
from wscore.reconnect import ReconnectPolicy

HANG_S = 20


async def greet_and_stay(peer):
    await peer.greet()
    await peer.stay()


async def stay(peer):
    await peer.stay()


def sends(*frames):
    async def script(peer):
        for frame in frames:
            await peer.raw(frame)
        await peer.stay()

    return script


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "the server answered HTTP 200 OK"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "the server answered HTTP 503 Busy"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "no WebSocket server answered"),
        (b"", "no WebSocket server answered"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "no WebSocket server answered"),
    ],
)
async def test_what_is_no_websocket_server_is_told_in_one_line(answer, problem):
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with tcp_server(handle) as port:
        url = f"ws://127.0.0.1:{port}/socket.io/"
        with pytest.raises(ConnectionFailedError, match=problem) as caught:
            await Client(url, token=StaticToken("hide-me")).connect()
    assert str(caught.value).startswith(f"cannot connect to {url}: ")
    assert "\n" not in str(caught.value)
    assert "hide-me" not in f"{caught.value} {caught.value!r}"


async def test_an_unknown_host_is_told_in_one_line():
    with pytest.raises(ConnectionFailedError, match=r"cannot connect to ws://nowhere\.invalid/: "):
        await Client("ws://nowhere.invalid").connect()


async def test_a_server_that_does_not_answer_the_handshake_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client(f"ws://127.0.0.1:{listener.getsockname()[1]}/", dial=DialOptions(open_timeout_s=0.1))
        with pytest.raises(ConnectionFailedError, match=r"no answer within 0\.1 s|timed out"):
            await client.connect()


async def test_a_server_that_never_greets_is_given_up(faults):
    server = await faults(stay)
    chosen = ProtocolSettings(name=ProtocolName.WSCTL)
    client = Client(server.url, protocol=chosen, dial=DialOptions(open_timeout_s=0.2))
    with pytest.raises(ConnectionFailedError, match=r"no greeting within 0\.2 s; is this a wsctl server\?"):
        await client.connect()
    assert client.state is ClientState.CLOSED
    async with asyncio.timeout(HANG_S):
        await server.finished.get()  # the connection is not left open


@pytest.mark.parametrize("data", [{}, None, {"sessionId": 5}])
async def test_a_malformed_greeting_is_named(data, faults):
    server = await faults(sends(json.dumps({"type": "session_created", "timestamp": 1, "data": data})))
    with pytest.raises(ConnectionFailedError, match=r"its greeting is malformed: .* at `\$\.data"):
        await Client(server.url).connect()


@pytest.mark.parametrize("first", ["hello", "{}", '{"type":"welcome","timestamp":1}', "\x1b[31m", ""])
async def test_a_server_that_greets_in_its_own_way_can_be_talked_to(first, faults, make_client, record):
    server = await faults(sends(first, '{"type":"message","timestamp":1,"data":1}'))
    client = make_client(server.url)
    events = record(client)
    await client.connect()
    assert bytes((await client.receive("message", timeout_s=HANG_S)).data) == b"1"
    assert client.session is None
    assert events.of(Opened) == [Opened(None, "auto")]
    assert events.of(Received)[0].text == first


async def test_garbage_is_shown_to_watchers_and_breaks_nothing(faults, make_client, record):
    garbage = ["", "nonsense", "[]", "{" * 1000, '{"type":"a b","timestamp":1}', '{"type":"x","timestamp":-1}']

    async def script(peer):
        await peer.greet()
        for frame in garbage:
            await peer.raw(frame)
        await peer.send("pong")
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url)
    events = record(client)
    await client.connect()
    assert (await client.receive("pong", timeout_s=HANG_S)).type == "pong"
    assert [event.text for event in events.of(Received) if event.envelope is None] == garbage
    assert client.state is ClientState.OPEN


async def test_an_error_for_no_request_is_an_ordinary_message(faults, make_client):
    async def script(peer):
        await peer.greet()
        await peer.send("error", {"code": "RATE_LIMITED", "message": "slow", "retryable": True}, id="unknown")
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url)
    await client.connect()
    assert (await client.receive("error", timeout_s=HANG_S)).id == "unknown"


async def test_a_refusal_with_another_close_code_keeps_its_reason(faults):
    async def script(peer):
        await peer.send("error", {"code": ErrorCode.FORBIDDEN, "message": "Origin refused.", "retryable": False})
        await peer.close(1008)

    server = await faults(script)
    with pytest.raises(ConnectionClosedError, match=r"1008 policy violation \(Origin refused\.\)") as caught:
        await Client(server.url).connect()
    assert caught.value.code == 1008


async def test_a_server_that_is_full_closes_in_place_of_a_greeting(faults):
    async def script(peer):
        await peer.close(1013, "full")

    server = await faults(script)
    with pytest.raises(ConnectionClosedError, match=r"1013 try again later \(full\); Reconnect with backoff\."):
        await Client(server.url).connect()


async def test_a_binary_frame_of_a_wsctl_server_ends_the_connection_with_1003(faults, make_client):
    async def script(peer):
        await peer.greet()
        await peer.raw(b"\x00\x01")
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url)

    async def talk():
        await client.connect()
        await client.receive("never", timeout_s=HANG_S)

    with pytest.raises(ConnectionClosedError, match="binary frame") as caught:
        await talk()
    assert caught.value.code == 1003
    async with asyncio.timeout(HANG_S):
        assert (await server.finished.get()).ws.close_code == 1003


async def test_a_message_beyond_the_limit_ends_the_connection(faults, make_client):
    async def script(peer):
        await peer.greet()
        await peer.send("message", "x" * 2000)
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url, reconnect=None, dial=DialOptions(max_message_bytes=1000))
    await client.connect()
    with pytest.raises(ConnectionClosedError) as caught:
        await client.receive("message", timeout_s=HANG_S)
    assert "1000 bytes" in str(caught.value)


async def test_a_full_inbox_holds_the_server_back_and_loses_nothing(faults, make_client, record):
    total, limit = 400, 5
    held_back = asyncio.Event()
    finished = asyncio.Event()

    async def flood(peer):
        await peer.greet()
        for number in range(total):
            sending = asyncio.create_task(peer.send("message", [number, "x" * 65_536]))
            done, _ = await asyncio.wait({sending}, timeout=0.5)
            if not done:  # TCP takes no more
                held_back.set()
            await sending
        finished.set()
        await peer.stay()

    server = await faults(flood)
    client = make_client(server.url, inbox_limit=limit)
    events = record(client)
    await client.connect()
    async with asyncio.timeout(HANG_S):
        await asyncio.wait(
            {asyncio.create_task(held_back.wait()), asyncio.create_task(finished.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
    assert not finished.is_set()
    assert len(events.of(Received)) == limit + 1  # one more is in hand and waits for room
    async with asyncio.timeout(HANG_S):
        await client.receive("session_created")
        numbers = [json.loads(bytes((await client.receive("message")).data))[0] for _ in range(total)]
        assert numbers == list(range(total))
        await finished.wait()


async def test_waiting_for_a_type_goes_past_a_full_inbox(faults, make_client):
    async def script(peer):
        await peer.greet()
        for number in range(50):
            await peer.send("message", number)
        await peer.send("last")
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url, inbox_limit=3)
    await client.connect()
    assert (await client.receive("last", timeout_s=HANG_S)).type == "last"
    numbers = [bytes((await client.receive("message", timeout_s=HANG_S)).data) for _ in range(50)]
    assert numbers == [str(number).encode() for number in range(50)]


async def test_closing_a_client_whose_inbox_is_full_ends_at_once(faults):
    flooding = asyncio.Event()

    async def script(peer):
        await peer.greet()
        for number in range(10):
            await peer.send("message", number)
        flooding.set()
        await peer.stay()

    server = await faults(script)
    client = Client(server.url, inbox_limit=2)
    await client.connect()
    async with asyncio.timeout(HANG_S):
        await flooding.wait()
        await client.close()
        await server.finished.get()
    assert client.state is ClientState.CLOSED


async def test_a_cancelled_connect_leaves_nothing_behind(faults):
    came = asyncio.Event()

    async def script(peer):
        came.set()
        await peer.stay()

    server = await faults(script)
    before = asyncio.all_tasks()
    client = Client(server.url)
    connecting = asyncio.create_task(client.connect())
    async with asyncio.timeout(HANG_S):
        await came.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await server.finished.get()
        while asyncio.all_tasks() - before:  # the server's own task for the connection
            await asyncio.sleep(0.01)
    assert client.state is ClientState.CLOSED
    await client.close()


async def test_a_cancelled_connect_in_the_middle_of_dialling_leaves_nothing_behind():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        before = asyncio.all_tasks()
        client = Client(f"ws://127.0.0.1:{listener.getsockname()[1]}/")
        connecting = asyncio.create_task(client.connect())
        await asyncio.sleep(0.05)  # whichever step of dialling this hits
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        async with asyncio.timeout(HANG_S):
            while asyncio.all_tasks() != before:
                await asyncio.sleep(0.01)
    assert client.state is ClientState.CLOSED


async def test_the_watcher_sees_the_loss_and_the_way_back(faults, make_client, record):
    async def greet_and_abort(peer):
        await peer.greet()
        peer.abort()

    async def sleep(_: float) -> None:
        return

    server = await faults(greet_and_abort, greet_and_stay)
    policy = ReconnectPolicy(base_ms=100)
    client = make_client(server.url, sleep=sleep, random=lambda: 0.5, reconnect=policy)
    events = record(client)
    await client.connect()
    await events.next(Opened)
    await events.next(Opened)
    kinds = [type(event) for event in events.events[:7]]
    assert kinds == [Handshake, Opened, Received, Closed, Reconnecting, Handshake, Opened]
    reconnecting = events.of(Reconnecting)[0]
    assert (reconnecting.attempt, reconnecting.delay_ms) == (1, 50)
    assert reconnecting.problem.startswith("connection closed: 1006 abnormal closure")


async def test_no_event_or_error_or_repr_shows_the_token(faults, make_client, record):
    token = "guest_0b8f9c5e-3f0a-4c6e-9b1d-2a7e5d4c3b21_1700000000000"

    async def script(peer):
        await peer.greet()
        await peer.close(1011, "sorry")

    async def no_greeting(peer):
        peer.abort()

    async def sleep(_: float) -> None:
        return

    server = await faults(script, no_greeting)
    client = make_client(f"{server.url}?token={token}", sleep=sleep, reconnect=ReconnectPolicy(max_attempts=2))
    events = record(client)
    await client.connect()
    await client.receive()
    with pytest.raises(ConnectionClosedError) as caught:
        await client.receive(timeout_s=HANG_S)
    assert len(server.tokens) == 3
    assert set(server.tokens) == {token}
    assert token not in f"{caught.value} {caught.value!r} {client!r} {events.events!r}"

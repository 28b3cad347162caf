"""Ends that no close code announces: failing watchers and token sources, cancelled calls, what stays behind."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from wsclient import (
    AuthenticationRefusedError,
    Client,
    ClientState,
    Closed,
    DialOptions,
    NotConnectedError,
    Opened,
    Received,
    ServerError,
    StaticToken,
)
from wscore.errors import ConfigError, TargetError

HANG_S = 20


async def no_wait(_: float) -> None:
    return


async def greet_and_stay(peer):
    await peer.greet()
    await peer.stay()


async def greet_and_abort(peer):
    await peer.greet()
    peer.abort()


async def test_a_watcher_that_fails_ends_the_client_with_its_error(faults, make_client):
    async def greet_and_talk(peer):
        await peer.greet()
        await peer.send("message", 1)
        await peer.stay()

    def watcher(event):
        if isinstance(event, Received) and event.envelope.type == "message":
            raise LookupError("the screen is gone")

    server = await faults(greet_and_talk)
    client = make_client(server.url)
    client.watch(watcher)
    await client.connect()
    with pytest.raises(LookupError, match="the screen is gone"):
        await client.receive("message", timeout_s=HANG_S)
    assert client.state is ClientState.CLOSED
    async with asyncio.timeout(HANG_S):
        assert (await server.finished.get()).ws.close_code == 1000


async def test_a_watcher_that_fails_at_the_opening_leaves_no_connection(faults):
    def watcher(event):
        raise LookupError("no screen")

    server = await faults(greet_and_stay)
    client = Client(server.url)
    client.watch(watcher)
    with pytest.raises(LookupError, match="no screen"):
        await client.connect()
    assert (client.state, client.session) == (ClientState.CLOSED, None)
    async with asyncio.timeout(HANG_S):
        await server.finished.get()


async def test_a_token_source_that_fails_for_good_ends_the_client_with_its_error(faults, make_client):
    tokens = iter(["one"])

    async def source() -> str:
        for token in tokens:
            return token
        raise ConfigError("--token-file", "it is gone")

    server = await faults(greet_and_abort, greet_and_stay)
    client = make_client(server.url, token=source, sleep=no_wait)
    await client.connect()
    await client.receive("session_created")
    with pytest.raises(ConfigError, match="it is gone"):
        await client.receive(timeout_s=HANG_S)
    assert (client.state, server.tokens) == (ClientState.CLOSED, ["one"])


async def test_a_token_source_whose_own_server_is_away_is_asked_again(faults, make_client, record):
    answers = iter(["one", TargetError("the identity server does not answer"), "two"])

    async def source() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    server = await faults(greet_and_abort, greet_and_stay)
    client = make_client(server.url, token=source, sleep=no_wait)
    events = record(client)
    await client.connect()
    await events.next(Opened)
    await events.next(Opened)
    assert server.tokens == ["one", "two"]


async def test_a_refusal_is_found_behind_other_frames(faults):
    async def script(peer):
        await peer.send("error", {"code": "AUTH_EXPIRED", "message": "too old", "retryable": False})
        await peer.send("message", "bye")
        await peer.close(4001)

    server = await faults(script)
    with pytest.raises(AuthenticationRefusedError, match="AUTH_EXPIRED: too old"):
        await Client(server.url).connect()


async def test_an_error_of_a_code_that_the_table_does_not_know_is_still_an_error(faults, make_client):
    async def script(peer):
        await peer.greet()
        request = await peer.receive()
        await peer.send("error", {"code": "TEAPOT", "message": "short and stout"}, id=request["id"])
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url)
    await client.connect()
    with pytest.raises(ServerError, match="TEAPOT: short and stout") as caught:
        await client.request("brew", timeout_s=HANG_S)
    assert caught.value.retryable is False


async def test_a_reply_is_found_behind_more_messages_than_the_inbox_holds(faults, make_client):
    async def script(peer):
        await peer.greet()
        request = await peer.receive()
        for number in range(50):
            await peer.send("message", number)
        await peer.send("reply", "here", id=request["id"])
        await peer.stay()

    server = await faults(script)
    client = make_client(server.url, inbox_limit=3)
    await client.connect()
    reply = await client.request("question", timeout_s=HANG_S)
    assert bytes(reply.data) == b'"here"'
    numbers = [json.loads(bytes((await client.receive("message")).data)) for _ in range(50)]
    assert numbers == list(range(50))


@pytest.mark.parametrize(
    "dial",
    [
        DialOptions(headers={"authorization": "Bearer mine"}),
        DialOptions(headers=[("X-Trace", "1"), ("Authorization", "Bearer mine")]),
        DialOptions(subprotocols=["wsctl.v1", "token.bWluZQ"]),
    ],
)
async def test_no_guest_token_outbids_the_one_that_a_header_carries(dial, faults, make_client):
    seen = []

    async def script(peer):
        seen.append(peer.ws.request)
        await greet_and_stay(peer)

    server = await faults(script)
    client = make_client(server.url, dial=dial)
    await client.connect()
    assert server.tokens == [""]
    assert "mine" in seen[0].headers.get("Authorization", "") or "token.bWluZQ" in str(seen[0].headers)
    assert "mine" not in repr(dial)
    assert "bWluZQ" not in repr(dial)


async def test_a_header_that_is_given_twice_is_sent_twice(faults, make_client):
    seen = []

    async def script(peer):
        seen.extend(peer.ws.request.headers.get_all("X-Trace"))
        await greet_and_stay(peer)

    server = await faults(script)
    client = make_client(server.url, dial=DialOptions(headers=[("X-Trace", "1"), ("X-Trace", "2")]))
    await client.connect()
    assert seen == ["1", "2"]


async def test_logging_everything_shows_no_token(faults, make_client, caplog):
    caplog.set_level(logging.DEBUG)
    server = await faults(greet_and_stay)
    client = make_client(server.url, token=StaticToken("hide-me"))
    await client.connect()
    await client.send("message", "x")
    await client.close()
    # The test's own server shares this process and its log; what it writes is not the client's.
    written = [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    assert not [line for line in written if "hide-me" in line]


async def test_closing_while_connecting_ends_the_connecting(faults):
    let_go = asyncio.Event()

    async def greet_late(peer):
        await let_go.wait()
        await greet_and_stay(peer)

    server = await faults(greet_late)
    client = Client(server.url)
    connecting = asyncio.create_task(client.connect())
    async with asyncio.timeout(HANG_S):
        while not server.tokens:
            await asyncio.sleep(0.001)
        await client.close()
        let_go.set()
        with pytest.raises(NotConnectedError):
            await connecting
        await server.finished.get()
    assert client.state is ClientState.CLOSED


async def test_a_close_that_is_cancelled_drops_the_connection_at_once(faults):
    async def never_answer_the_close(peer):
        await peer.greet()
        peer.ws.transport.pause_reading()
        await peer.ws.wait_closed()

    server = await faults(never_answer_the_close)
    before = asyncio.all_tasks()
    client = Client(server.url, dial=DialOptions(close_timeout_s=3600))
    await client.connect()
    await client.receive()
    closing = asyncio.create_task(client.close())
    while client.state is ClientState.OPEN:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)  # the close frame is out; its answer will not come
    assert not closing.done()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    server_tasks = 1  # the script that still looks at its paused connection
    async with asyncio.timeout(HANG_S):
        while len(asyncio.all_tasks() - before) > server_tasks:
            await asyncio.sleep(0.001)


async def test_cancelling_the_whole_conversation_leaves_no_task_and_closes_with_1000(faults, record):
    server = await faults(greet_and_stay)
    before = asyncio.all_tasks()
    opened = asyncio.Event()

    async def converse():
        client = Client(server.url)
        client.watch(lambda event: opened.set())
        async with client:
            await client.request("never answered", timeout_s=3600)

    conversation = asyncio.create_task(converse())
    async with asyncio.timeout(HANG_S):
        await opened.wait()
        await asyncio.sleep(0)
        conversation.cancel()
        with pytest.raises(asyncio.CancelledError):
            await conversation
        assert (await server.finished.get()).ws.close_code == 1000
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.001)


async def test_a_request_that_was_never_sent_leaves_no_complaint(faults, make_client, record, caplog):
    server = await faults(greet_and_abort)
    client = make_client(server.url, reconnect=None)
    events = record(client)
    await client.connect()
    await events.next(Closed)
    with pytest.raises(NotConnectedError):
        await client.request("too late")
    assert caplog.records == []

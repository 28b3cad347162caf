"""Coming back or not: what a client does after each kind of end, against a server that misbehaves on command."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from wsclient import (
    AuthenticationRefusedError,
    ClientState,
    Closed,
    ConnectionClosedError,
    ConnectionFailedError,
    DialOptions,
    NotConnectedError,
    Opened,
    Reconnecting,
    StaticToken,
)
from wscore.codes import CLOSES, Action, CloseCode, close_action
from wscore.errors import WsctlError
from wscore.reconnect import ReconnectPolicy

HANG_S = 20
ONLY_LOCAL = {CloseCode.NO_STATUS, CloseCode.ABNORMAL, CloseCode.TLS_HANDSHAKE}
SENDABLE = [code for code in CLOSES if code not in ONLY_LOCAL]


class Waits:
    """Stands in for sleeping: notes the delay and lets the client go on at once."""

    def __init__(self) -> None:
        self.delays_s: list[float] = []

    async def __call__(self, delay_s: float) -> None:
        self.delays_s.append(delay_s)


def fresh_tokens():
    numbers = itertools.count(1)

    async def source() -> str:
        return f"token-{next(numbers)}"

    return source


@pytest.fixture
def waits() -> Waits:
    return Waits()


async def greet_and_stay(peer):
    await peer.greet()
    await peer.stay()


def greet_and_close(code, reason=""):
    async def script(peer):
        await peer.greet()
        await peer.close(code, reason)

    return script


async def greet_and_abort(peer):
    await peer.greet()
    peer.abort()


async def end_of(client) -> Exception:
    """Take what is there until the client says why nothing more will come."""
    async with asyncio.timeout(HANG_S):
        while True:
            try:
                await client.receive()
            except WsctlError as error:
                return error


@pytest.mark.parametrize("code", [*SENDABLE, 3000, 4999, 4005])
async def test_a_client_does_after_a_close_code_what_the_table_says(code, faults, make_client, record, waits):
    server = await faults(greet_and_close(code, "because"), greet_and_stay)
    client = make_client(server.url, token=fresh_tokens(), sleep=waits)
    events = record(client)
    await client.connect()
    assert await events.next(Closed) == Closed(code, "because")
    if close_action(code) is Action.STOP:
        error = await end_of(client)
        assert isinstance(error, ConnectionClosedError)
        assert (error.code, error.reason, client.state) == (code, "because", ClientState.CLOSED)
        assert (server.tokens, waits.delays_s) == (["token-1"], [])
    else:
        await events.next(Opened)
        assert client.state is ClientState.OPEN
        assert server.tokens == ["token-1", "token-2"]  # a fresh token each time
        assert len(waits.delays_s) == 1


@pytest.mark.parametrize("kind", ["aborted", "without a code"])
async def test_a_lost_connection_comes_back(kind, faults, make_client, record, waits):
    async def close_without_a_code(peer):
        await peer.greet()
        peer.ws.transport.write(b"\x88\x00")
        await peer.stay()

    server = await faults(greet_and_abort if kind == "aborted" else close_without_a_code, greet_and_stay)
    client = make_client(server.url, sleep=waits)
    events = record(client)
    await client.connect()
    await events.next(Opened)
    assert (await events.next(Closed)).code == (1006 if kind == "aborted" else 1005)
    await events.next(Opened)
    assert len(server.tokens) == 2


async def test_without_a_policy_the_first_loss_is_the_end(faults, make_client):
    server = await faults(greet_and_abort)
    client = make_client(server.url, reconnect=None)
    await client.connect()
    error = await end_of(client)
    assert isinstance(error, ConnectionClosedError)
    assert error.code == 1006
    assert len(server.tokens) == 1


async def test_guest_tokens_are_minted_anew_for_the_same_guest(faults, make_client, record, waits):
    clock = itertools.count(1_700_000_000_000)
    server = await faults(greet_and_abort, greet_and_abort, greet_and_stay)
    client = make_client(server.url, sleep=waits, now_ms=lambda: next(clock))
    events = record(client)
    await client.connect()
    for _ in range(3):
        await events.next(Opened)
    guests = [token.rpartition("_")[0] for token in server.tokens]
    assert len(set(server.tokens)) == 3
    assert len(set(guests)) == 1


async def refuse(peer):
    await peer.refuse()


async def greet_and_refuse(peer):
    await peer.greet()
    await peer.refuse()


async def close_4001_at_once(peer):
    await peer.close(4001)


@pytest.mark.parametrize(
    ("scripts", "tries"),
    [
        ([greet_and_refuse, greet_and_stay], 1),
        ([greet_and_close(4001), greet_and_stay], 1),
        ([greet_and_abort, refuse, greet_and_stay], 2),
        ([greet_and_abort, close_4001_at_once, greet_and_stay], 2),
    ],
)
async def test_a_static_token_is_never_tried_again_after_4001(scripts, tries, faults, make_client, waits):
    server = await faults(*scripts)
    client = make_client(server.url, token=StaticToken("the-token"), sleep=waits)
    await client.connect()
    error = await end_of(client)
    assert isinstance(error, AuthenticationRefusedError)
    assert "the-token" not in f"{error} {error!r}"
    assert server.tokens == ["the-token"] * tries
    assert client.state is ClientState.CLOSED


async def test_a_token_in_the_url_is_never_tried_again_after_4001(faults, make_client, waits):
    server = await faults(greet_and_refuse, greet_and_stay)
    client = make_client(f"{server.url}?token=the-token", sleep=waits)
    await client.connect()
    assert isinstance(await end_of(client), AuthenticationRefusedError)
    assert server.tokens == ["the-token"]


async def test_a_static_token_is_used_again_after_any_other_loss(faults, make_client, record, waits):
    server = await faults(greet_and_abort, greet_and_close(1012), greet_and_stay)
    client = make_client(server.url, token=StaticToken("the-token"), sleep=waits)
    events = record(client)
    await client.connect()
    for _ in range(3):
        await events.next(Opened)
    assert server.tokens == ["the-token"] * 3


async def test_a_fresh_token_that_is_refused_too_is_the_end(faults, make_client, waits):
    server = await faults(greet_and_refuse, refuse, greet_and_stay)
    client = make_client(server.url, token=fresh_tokens(), sleep=waits)
    await client.connect()
    error = await end_of(client)
    assert isinstance(error, AuthenticationRefusedError)
    assert (error.code, server.tokens) == ("AUTH_EXPIRED", ["token-1", "token-2"])


@pytest.mark.parametrize(
    ("data", "asked_ms"),
    [({"retryAfterMs": 7000}, 7000), ({"retryAfterMs": -5}, 0), ({"retryAfterMs": "soon"}, 0), (None, 0)],
)
async def test_a_server_that_goes_away_is_not_disturbed_earlier_than_it_asked(
    data, asked_ms, faults, make_client, record, waits
):
    async def leave(peer):
        await peer.greet()
        await peer.send("disconnect", data)
        await peer.close(1001, "Server shutting down")

    server = await faults(leave, greet_and_abort, greet_and_stay)
    policy = ReconnectPolicy(base_ms=400)
    client = make_client(server.url, sleep=waits, random=lambda: 0.5, reconnect=policy)
    events = record(client)
    await client.connect()
    for _ in range(3):
        await events.next(Opened)
    assert waits.delays_s == [(asked_ms + 200) / 1000, 0.4]  # the second loss knows nothing of what the first was told
    assert events.of(Reconnecting)[0].delay_ms == asked_ms + 200


async def test_delays_double_with_full_jitter_until_the_cap(faults, make_client, waits):
    async def abort(peer):
        peer.abort()

    server = await faults(greet_and_abort, abort)
    randoms = iter([0.5, 0.25, 0.75, 0.0, 0.999])
    policy = ReconnectPolicy(base_ms=1000, cap_ms=4000, max_attempts=5)
    client = make_client(server.url, sleep=waits, random=lambda: next(randoms), reconnect=policy)
    await client.connect()
    error = await end_of(client)
    assert isinstance(error, ConnectionClosedError)
    assert waits.delays_s == [0.5, 0.5, 3.0, 0.0, 3.996]
    assert len(server.tokens) == 6


async def test_attempts_are_counted_anew_after_a_connection_that_lasted(
    faults, make_client, record, waits, monkeypatch
):
    monkeypatch.setattr("wsclient.client.LASTING_S", 0)

    async def full(peer):
        await peer.close(1013)

    server = await faults(greet_and_abort, full, full, greet_and_abort, full, greet_and_stay)
    client = make_client(server.url, sleep=waits, random=lambda: 0.5, reconnect=ReconnectPolicy(base_ms=1000))
    events = record(client)
    await client.connect()
    for _ in range(3):
        await events.next(Opened)
    assert [event.attempt for event in events.of(Reconnecting)] == [1, 2, 3, 1, 2]
    assert waits.delays_s == [0.5, 1.0, 2.0, 0.5, 1.0]
    assert len(server.tokens) == 6


async def test_a_server_that_greets_and_closes_is_disturbed_less_and_less(faults, make_client, record, waits):
    server = await faults(greet_and_close(1012))
    policy = ReconnectPolicy(base_ms=1000, max_attempts=4)
    client = make_client(server.url, sleep=waits, random=lambda: 0.5, reconnect=policy)
    events = record(client)
    await client.connect()
    await end_of(client)
    assert [event.attempt for event in events.of(Reconnecting)] == [1, 2, 3, 4]
    assert waits.delays_s == [0.5, 1.0, 2.0, 4.0]


async def test_a_guest_that_is_refused_after_each_greeting_is_not_tried_for_ever(faults, make_client, waits):
    server = await faults(greet_and_refuse)
    client = make_client(server.url, token=fresh_tokens(), sleep=waits)
    await client.connect()
    assert isinstance(await end_of(client), AuthenticationRefusedError)
    assert server.tokens == ["token-1", "token-2"]


async def test_a_client_comes_back_into_the_session_that_it_was_given(faults, make_client, record, waits):
    server = await faults(greet_and_abort, greet_and_stay)
    client = make_client(server.url, sleep=waits)
    events = record(client)
    await client.connect()
    for _ in range(2):
        await events.next(Opened)
    assert server.sessions == ["", "room"]


async def test_a_code_that_means_stop_ends_the_tries(faults, make_client, waits):
    async def kick(peer):
        await peer.close(4004, "out")

    server = await faults(greet_and_abort, kick, greet_and_stay)
    client = make_client(server.url, sleep=waits)
    await client.connect()
    error = await end_of(client)
    assert isinstance(error, ConnectionClosedError)
    assert (error.code, error.reason, len(server.tokens)) == (4004, "out", 2)


async def test_a_server_that_is_gone_is_tried_until_the_attempts_are_used_up(faults, make_client, waits):
    server = await faults(greet_and_stay)
    client = make_client(server.url, sleep=waits, reconnect=ReconnectPolicy(max_attempts=3))
    await client.connect()
    await server.stop()
    error = await end_of(client)
    assert isinstance(error, ConnectionFailedError)
    assert "connection refused" in str(error)
    assert len(waits.delays_s) == 3


async def test_a_server_silent_for_longer_than_its_timeout_is_dropped(faults, make_client, record, waits):
    async def greet_and_fall_silent(peer):
        await peer.greet(timeout_ms=150)
        await peer.stay()

    server = await faults(greet_and_fall_silent, greet_and_stay)
    client = make_client(server.url, sleep=waits)
    events = record(client)
    await client.connect()
    assert await events.next(Closed) == Closed(1006, "no sign of life from the server for 0.15 s")
    await events.next(Opened)
    assert client.state is ClientState.OPEN
    async with asyncio.timeout(HANG_S):
        await server.finished.get()  # the first connection is really gone


async def test_a_server_that_keeps_talking_is_not_dropped(faults, make_client, record):
    async def greet_and_talk(peer):
        await peer.greet(timeout_ms=2000)
        for number in range(10):
            await peer.send("message", number)
            await asyncio.sleep(0.25)
        await peer.close(1000)

    server = await faults(greet_and_talk)
    client = make_client(server.url)
    events = record(client)
    await client.connect()
    numbers = [envelope.data async for envelope in client if envelope.type == "message"]
    assert len(numbers) == 10  # 2.5 s in all, longer than the timeout
    assert [event.code for event in events.of(Closed)] == [1000]


async def test_while_reconnecting_nothing_can_be_sent_and_close_ends_the_wait(faults, make_client, record):
    asleep = asyncio.Event()

    async def sleep(_: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    server = await faults(greet_and_abort)
    client = make_client(server.url, sleep=sleep)
    await client.connect()
    async with asyncio.timeout(HANG_S):
        await asleep.wait()
    assert (client.state, client.session) == (ClientState.WAITING, None)
    with pytest.raises(NotConnectedError, match="not connected; wait until the client is open again"):
        await client.send("message", "lost?")
    async with asyncio.timeout(HANG_S):
        await client.close()
    assert client.state is ClientState.CLOSED
    assert isinstance(await end_of(client), ConnectionClosedError)
    assert len(server.tokens) == 1


async def test_a_request_does_not_outlive_its_connection_though_the_client_comes_back(
    faults, make_client, record, waits
):
    async def abort_when_asked(peer):
        await peer.greet()
        await peer.receive()
        peer.abort()

    server = await faults(abort_when_asked, greet_and_stay)
    client = make_client(server.url, sleep=waits)
    events = record(client)
    await client.connect()
    with pytest.raises(ConnectionClosedError, match="1006"):
        await client.request("question", timeout_s=HANG_S)
    await events.next(Opened)
    await events.next(Opened)
    assert client.state is ClientState.OPEN


async def test_a_new_connection_that_never_greets_is_given_up_and_tried_again(faults, make_client, record, waits):
    async def stay_silent(peer):
        await peer.stay()

    server = await faults(greet_and_abort, stay_silent, greet_and_stay)
    client = make_client(server.url, sleep=waits, dial=DialOptions(open_timeout_s=0.3))
    events = record(client)
    await client.connect()
    await events.next(Opened)
    await events.next(Opened)
    assert "no greeting within 0.3 s" in events.of(Reconnecting)[1].problem
    assert len(server.tokens) == 3

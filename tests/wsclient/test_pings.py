"""WebSocket's own pings: told, sent by hand with their round trip, and how a dead server of another make is noticed."""

from __future__ import annotations

import asyncio

import pytest
from websockets.utils import accept_key

from tests.tcpserver import tcp_server
from wsclient import Client, ConnectionClosedError, ControlFrame, DialOptions, NotConnectedError, Pings

HANG_S = 20


async def hello(peer):
    await peer.raw("hello")
    await peer.stay()


async def test_a_ping_by_hand_tells_its_round_trip(faults, make_client, record):
    server = await faults(hello)
    client = make_client(server.url, reconnect=None)
    events = record(client)
    with pytest.raises(NotConnectedError):
        await client.ping()
    await client.connect()
    round_trip_ms = await client.ping(timeout_s=HANG_S)
    sent, received = events.of(ControlFrame)
    assert (sent.is_sent, sent.is_ping, sent.round_trip_ms) == (True, True, None)
    assert (received.is_sent, received.is_ping) == (False, False)
    assert received.round_trip_ms == pytest.approx(round_trip_ms)
    assert 0 < round_trip_ms < HANG_S * 1000


async def test_a_ping_of_the_server_is_told_with_its_answer(faults, make_client, record):
    answered = asyncio.Event()

    async def ping(peer):
        await peer.raw("hello")
        await (await peer.ws.ping(b"four"))
        answered.set()
        await peer.stay()

    server = await faults(ping)
    client = make_client(server.url, reconnect=None)
    events = record(client)
    await client.connect()
    async with asyncio.timeout(HANG_S):
        await answered.wait()
    told = [(event.is_sent, event.is_ping, event.size_bytes) for event in events.of(ControlFrame)]
    assert told == [(False, True, 4), (True, False, 4)]


async def test_a_silent_server_that_answers_pings_is_kept(faults, make_client, record):
    server = await faults(hello)
    client = make_client(server.url, reconnect=None, dial=DialOptions(pings=Pings(interval_s=0.02)))
    events = record(client)
    await client.connect()
    for _ in range(6):  # three times it was asked, and answered
        await events.next(ControlFrame)
    assert await client.ping(timeout_s=HANG_S) > 0


async def test_a_server_that_says_nothing_to_a_ping_is_gone():
    async def greet_and_die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        (key,) = [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key")]
        lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        writer.write("\r\n".join((*lines, f"Sec-WebSocket-Accept: {accept_key(key)}", "", "")).encode())
        writer.write(b"\x81\x05hello")
        await reader.read()  # and answers nothing, until the client hangs up
        writer.close()

    async with tcp_server(greet_and_die) as port, asyncio.timeout(HANG_S):
        client = Client(
            f"ws://127.0.0.1:{port}/", reconnect=None, dial=DialOptions(pings=Pings(interval_s=0.1, timeout_s=0.2))
        )
        await client.connect()
        with pytest.raises(ConnectionClosedError) as closed:
            await client.receive("nothing")
    assert (closed.value.code, closed.value.reason) == (1006, "no sign of life from the server for 0.3 s")


@pytest.mark.parametrize(
    ("pings", "silence_s", "asks", "wait_s"),
    [
        (Pings(), None, True, 20),  # no heartbeat is known
        (Pings(), 60, False, 60),  # a server of ours says when it is gone
        (Pings(interval_s=0), None, False, None),
        (Pings(interval_s=0), 60, False, 60),
        (Pings(interval_s=5), None, True, 5),
        (Pings(interval_s=5), 60, True, 5),
    ],
)
def test_a_server_is_asked_where_it_has_no_heartbeat_or_somebody_wants_it(pings, silence_s, asks, wait_s):
    assert (pings.may_ask(silence_s), pings.wait_s(silence_s)) == (asks, wait_s)

"""What both engines must do alike, each over a real socket."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from websockets.exceptions import InvalidStatus

from wsserver.settings import EngineName

HANG_S = 20


async def http(url: str, request: str) -> tuple[int, str]:
    """Send a raw HTTP request to a ws:// URL's host; returns status and all that came."""
    host, port = url.removeprefix("ws://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.encode())
    answer = await asyncio.wait_for(reader.read(), HANG_S)
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]) if answer else 0, answer.decode()


def get(path: str, *lines: str) -> str:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: x", *lines, "", ""))


UPGRADE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + base64.b64encode(bytes(16)).decode(),
)


async def test_session_created_greets_with_session_user_connection_heartbeat_and_limits(start_server, open_raw, engine):
    server = await start_server(engine=engine, max_message_bytes=4096)
    client = await open_raw(server.url)
    assert client.greeting["type"] == "session_created"
    data = client.greeting["data"]
    assert data["sessionId"] == client.greeting["sessionId"]
    assert data["userId"].startswith("guest_")
    assert data["isGuest"] is True
    assert data["connectionId"]
    assert data["heartbeat"] == {"intervalMs": 25_000, "timeoutMs": 60_000}
    assert data["limits"] == {"maxMessageBytes": 4096}
    assert isinstance(client.greeting["timestamp"], int)


async def test_a_ping_is_answered_with_a_pong_that_carries_its_id(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    await client.send("ping", {"timestamp": 5}, id="a1")
    pong = await client.receive()
    assert pong["type"] == "pong"
    assert pong["id"] == "a1"
    assert pong["sessionId"] == client.greeting["sessionId"]
    assert pong["data"]["timestamp"] > 1_600_000_000_000


async def test_a_message_reaches_everyone_in_its_session_and_nobody_else(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    a, b = await open_raw(server.url, session="room"), await open_raw(server.url, session="room")
    other = await open_raw(server.url, session="elsewhere")
    await a.ws.send('{"type":"message","timestamp":1,"userId":"forged","data":{"n": 1.50, "s":"\\u00e9"}}')
    raw = [await asyncio.wait_for(peer.ws.recv(), HANG_S) for peer in (a, b)]
    assert raw[0] == raw[1]
    assert '"data":{"n": 1.50, "s":"\\u00e9"}' in raw[0]  # byte for byte
    assert json.loads(raw[0])["userId"] == a.greeting["data"]["userId"]
    await other.send("ping")
    assert (await other.receive())["type"] == "pong"  # nothing came before it


async def test_broadcasts_and_replies_of_one_turn_keep_their_order(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    expected = []
    for n in range(50):
        await client.send("message", n)
        await client.send("ping", id=str(n))
        expected += [("message", n), ("pong", str(n))]
    got = []
    for _ in expected:
        envelope = await client.receive()
        got.append((envelope["type"], envelope["data"] if envelope["type"] == "message" else envelope["id"]))
    assert got == expected


@pytest.mark.parametrize(
    ("frame", "place"),
    [
        ("not json", "JSON is malformed"),
        ("[]", "Expected `object`"),
        ('{"timestamp":1}', "`type`"),
        ('{"type":"ping"}', "`timestamp`"),
        ('{"type":"a b","timestamp":1}', "$.type"),
        ('{"type":"ping","timestamp":"1"}', "$.timestamp"),
        ('{"type":"ping","timestamp":1,"data":NaN}', "JSON is malformed"),
        ('{"type":"ping","timestamp":1,"data":' + "[" * 5000 + "]" * 5000 + "}", "nested too deeply"),
    ],
)
async def test_invalid_message_is_answered_with_its_place_and_the_connection_stays_open(
    start_server, open_raw, engine, frame, place
):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    await client.ws.send(frame)
    error = await client.receive()
    assert error["type"] == "error"
    assert error["data"]["code"] == "INVALID_MESSAGE"
    assert error["data"]["retryable"] is False
    assert place in error["data"]["message"]
    await client.send("ping")
    assert (await client.receive())["type"] == "pong"


async def test_an_invalid_message_with_a_readable_id_is_answered_with_it(start_server, open_raw):
    client = await open_raw((await start_server()).url)
    await client.ws.send('{"type":"ping","timestamp":"soon","id":"r1"}')
    assert (await client.receive())["id"] == "r1"
    await client.ws.send('{"type":"ping","timestamp":1,"id":5}')
    assert "id" not in await client.receive()


async def test_a_message_without_data_is_fanned_out_without(start_server, open_raw):
    client = await open_raw((await start_server()).url)
    await client.ws.send('{"type":"message","timestamp":1}')
    assert "data" not in await client.receive()


async def test_an_unhandled_type_is_ignored_and_counted_as_in_the_seed(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    await client.send("audio_chunk", {"audioData": "", "sequenceNumber": 1})
    await client.send("ping")
    assert (await client.receive())["type"] == "pong"
    assert server.metrics.dropped["no-handler"].value == 1


async def test_a_binary_message_is_refused_with_1003(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    await client.ws.send(b"\x00\x01")
    assert await client.close_code() == 1003


async def test_a_message_over_the_limit_is_refused_with_1009_whole_or_in_fragments(start_server, open_raw, engine):
    server = await start_server(engine=engine, max_message_bytes=2048)
    whole, pieces, neighbour = [await open_raw(server.url) for _ in range(3)]
    await whole.ws.send("x" * 2049)
    assert await whole.close_code() == 1009
    await pieces.ws.send(["x" * 1024, "x" * 1024, "x"])
    assert await pieces.close_code() == 1009
    await neighbour.ws.send('{"type":"ping","timestamp":1,"data":"' + "x" * 1900 + '"}')
    assert (await neighbour.receive())["type"] == "pong"


async def test_fragments_are_joined_with_control_frames_between_them(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)

    async def pieces():
        yield '{"type":"pi'
        pong = await client.ws.ping(b"between")
        await asyncio.wait_for(pong, HANG_S)
        yield 'ng","timestamp":1}'

    await client.ws.send(pieces())
    assert (await client.receive())["type"] == "pong"


async def test_text_that_is_not_utf8_is_refused_with_1007(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    await client.ws.send(b"\xff", text=True)
    assert await client.close_code() == 1007


async def test_a_peers_close_code_is_echoed(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    await client.ws.close(4321, "bye")
    assert client.ws.close_code == 4321
    bare = await open_raw(server.url)
    await bare.ws.close(1000)
    assert bare.ws.close_code == 1000


async def test_many_connections_come_and_go_without_a_trace(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    clients = await asyncio.gather(*(open_raw(server.url, session="room") for _ in range(50)))
    assert server.hub.publish("news", 1, session="room").seq == 1
    assert [(await client.receive_type("news"))["data"] for client in clients] == [1] * 50
    await asyncio.gather(*(client.ws.close() for client in clients))
    await asyncio.wait_for(server.connections.wait_empty(), HANG_S)
    assert not server.connections.by_session("room")
    server.hub.publish("news", 2, session="room")  # nobody is there, but may come back
    newcomer = await open_raw(server.url, session="room")
    server.hub.publish("news", 3, session="room")
    assert (await newcomer.receive_type("news"))["data"] == 3


async def test_the_registry_knows_the_connections_of_a_session_and_forgets_them(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    a, b = await open_raw(server.url, session="room"), await open_raw(server.url, session="room")
    await open_raw(server.url, session="elsewhere")
    ids = [client.greeting["data"]["connectionId"] for client in (a, b)]
    assert [member.id for member in server.connections.by_session("room")] == ids
    assert len(server.connections.all()) == 3
    await a.ws.close()
    while server.connections.get(ids[0]) is not None:
        await asyncio.sleep(0)
    assert [member.id for member in server.connections.by_session("room")] == ids[1:]


async def test_sending_to_an_absent_connection_returns_false(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    connection_id = client.greeting["data"]["connectionId"]
    assert server.hub.send(connection_id, "news", 1) is True
    assert (await client.receive())["data"] == 1
    await client.ws.close()
    await asyncio.wait_for(server.connections.wait_empty(), HANG_S)
    assert server.hub.send(connection_id, "news", 1) is False
    assert server.hub.close(connection_id) is False


async def test_an_operator_kicks_with_4004(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    assert server.hub.close(client.greeting["data"]["connectionId"], reason="enough") is True
    assert await client.received_until_closed() == ([], 4004, "enough")


async def test_healthz_answers_on_the_same_port_and_other_paths_are_unknown(start_server, engine):
    server = await start_server(engine=engine)
    status, answer = await http(server.url, get("/healthz"))
    assert (status, answer.rpartition("\r\n\r\n")[2]) == (200, "ok\n")
    assert (await http(server.url, get("/elsewhere", *UPGRADE)))[0] == 404
    assert (await http(server.url, get("/socket.io/")))[0] == 426


async def test_the_path_works_with_and_without_its_last_slash_and_can_be_changed(start_server, open_raw, engine):
    server = await start_server(engine=engine, path="/live/")
    assert (await open_raw(server.url)).greeting["type"] == "session_created"
    assert (await open_raw(server.url.rstrip("/"))).greeting["type"] == "session_created"
    with pytest.raises(InvalidStatus) as refused:
        await open_raw(server.url.replace("/live/", "/socket.io/"))
    assert refused.value.response.status_code == 404


async def test_a_connection_header_with_several_items_is_understood(start_server, engine, guest_token):
    server = await start_server(engine=engine)
    host, port = server.url.removeprefix("ws://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(get(f"/socket.io/?token={guest_token()}", *UPGRADE).encode())
    assert (await asyncio.wait_for(reader.readline(), HANG_S)).startswith(b"HTTP/1.1 101")
    writer.close()
    await writer.wait_closed()


async def test_a_handshake_that_does_not_end_is_cut_off(start_server, engine):
    server = await start_server(engine=engine, handshake_timeout_ms=100)
    assert (await http(server.url, "GET /socket.io/ HTTP/1.1\r\nHost: x\r\n"))[0] == 0


async def test_a_shutdown_says_disconnect_and_closes_with_1001(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    clients = [await open_raw(server.url) for _ in range(5)]
    stopping = asyncio.create_task(server.stop())
    delays = set()
    for client in clients:
        envelopes, code, _ = await client.received_until_closed()
        assert code == 1001
        assert [envelope["type"] for envelope in envelopes] == ["disconnect"]
        delays.add(envelopes[0]["data"]["retryAfterMs"])
    await stopping
    assert len(delays) > 1  # jitter


async def test_while_draining_healthz_and_newcomers_get_503(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    client.ws.transport.pause_reading()  # so that the drain cannot finish
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0)
    assert (await http(server.url, get("/healthz")))[0] == 503
    assert (await http(server.url, get("/socket.io/", *UPGRADE)))[0] == 503
    client.ws.transport.resume_reading()
    await stopping


async def test_compression_is_negotiated_when_asked_for(start_server, open_raw):
    server = await start_server(engine=EngineName.AUTO, compression=True)
    assert server.settings.resolved_engine is EngineName.WEBSOCKETS
    client = await open_raw(server.url, compression="deflate", session="room")
    plain = await open_raw(server.url, session="room")
    assert "permessage-deflate" in client.ws.response.headers["Sec-WebSocket-Extensions"]
    await client.send("message", "x" * 10_000)
    assert (await client.receive())["data"] == (await plain.receive())["data"] == "x" * 10_000

"""Frames and messages that break the rules: each gets its close code or error, a neighbour notices nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
import uuid
from urllib.parse import urlsplit

import pytest

from wscore.guest import mint_guest_token
from wscore.ratelimit import Rate
from wsserver.connections.ratelimits import RatePolicy
from wsserver.settings import EngineName

LIMIT = 4096
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
ENVELOPE = b'{"type":"message","timestamp":1,"data":"caf\xc3\xa9"}'


def fragments(make, *payloads, opcode=TEXT):
    last = len(payloads) - 1
    return b"".join(make(CONT if n else opcode, payload, fin=n == last) for n, payload in enumerate(payloads))


# name, what is sent, the close codes that may answer it
BROKEN = [
    ("a message one byte too long", lambda f: f(TEXT, b"x" * (LIMIT + 1)), {1009}),
    ("fragments that are too long together", lambda f: fragments(f, *[b"x" * 1000] * 5), {1009}),
    ("a fragment series without end", lambda f: f(TEXT, b"x", fin=False) + f(CONT, b"x", fin=False) * 2000, {1009}),
    ("empty fragments without end", lambda f: f(TEXT, fin=False) + f(CONT, fin=False) * 2000, {1009}),
    ("a length of 2^63", lambda f: f(TEXT, size=1 << 63), {1002, 1009}),
    ("a length of 2^63-1", lambda f: f(TEXT, size=(1 << 63) - 1), {1002, 1009}),
    ("a length of 2^40", lambda f: f(BINARY, size=1 << 40), {1009}),
    ("invalid UTF-8", lambda f: f(TEXT, b'{"type":"\xff"}'), {1007}),
    ("an overlong UTF-8 sequence", lambda f: f(TEXT, b'"\xc0\xaf"'), {1007}),
    ("a surrogate in UTF-8", lambda f: f(TEXT, b'"\xed\xa0\x80"'), {1007}),
    ("invalid UTF-8 split over fragments", lambda f: fragments(f, b'"\xc3', b'\x28"'), {1007}),
    ("a message that ends inside a character", lambda f: fragments(f, b'"a', b"\xe2\x82"), {1007}),
    *((f"reserved bit {bit}", lambda f, bit=bit: f(TEXT, ENVELOPE, rsv=1 << bit), {1002}) for bit in range(3)),
    *((f"opcode {op}", lambda f, op=op: f(op, b"x"), {1002}) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    ("an unmasked frame", lambda f: f(TEXT, ENVELOPE, masked=False), {1002}),
    ("an unmasked ping", lambda f: f(PING, masked=False), {1002}),
    ("a fragmented ping", lambda f: f(PING, fin=False), {1002}),
    ("a ping of 126 bytes", lambda f: f(PING, b"x" * 126), {1002}),
    ("a continuation of nothing", lambda f: f(CONT, b"x"), {1002}),
    ("a new message inside of another", lambda f: f(TEXT, b"x", fin=False) + f(TEXT, ENVELOPE), {1002}),
    ("a close frame of one byte", lambda f: f(CLOSE, b"\x03"), {1002}),
    *(
        (f"close code {code}", lambda f, code=code: f(CLOSE, code.to_bytes(2, "big")), {1002})
        for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
    ),
    ("a close reason that is not UTF-8", lambda f: f(CLOSE, b"\x03\xe8\xff\xfe"), {1007}),
    ("a close reason that ends inside a character", lambda f: f(CLOSE, b"\x03\xe8\xe2\x82"), {1007}),
    ("a close frame of 126 bytes", lambda f: f(CLOSE, b"\x03\xe8" + b"x" * 124), {1002}),
    ("a fragmented close frame", lambda f: f(CLOSE, b"\x03\xe8", fin=False), {1002}),
    ("a binary message", lambda f: f(BINARY, b"\x00"), {1003}),
    ("a fragmented binary message", lambda f: fragments(f, b"a", b"b", opcode=BINARY), {1003}),
]

INVALID = [
    ("deep JSON", b"[" * 100_000),
    ("deep data", b'{"type":"message","timestamp":1,"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ("deep objects", b'{"data":' * 100_000),
    ("NaN", b'{"type":"message","timestamp":NaN}'),
    ("NaN in data", b'{"type":"message","timestamp":1,"data":NaN}'),
    ("Infinity in data", b'{"type":"message","timestamp":1,"data":-Infinity}'),
    ("a huge timestamp", b'{"type":"message","timestamp":1e999}'),
    ("a timestamp of 400 digits", b'{"type":"message","timestamp":1' + b"0" * 400 + b"}"),
    ("a negative timestamp", b'{"type":"message","timestamp":-1}'),
    ("a lone surrogate", b'{"type":"message","timestamp":1,"data":"\\ud800"}'),
    ("a lone surrogate in the type", b'{"type":"\\udfff","timestamp":1}'),
    ("no timestamp", b'{"type":"message"}'),
    ("no type", b'{"timestamp":1}'),
    ("no object", b'["message"]'),
    ("nothing", b""),
    ("a NUL in the type", b'{"type":"a\\u0000","timestamp":1}'),
    ("a type of 65 characters", b'{"type":"' + b"a" * 65 + b'","timestamp":1}'),
    ("two documents", ENVELOPE * 2),
    ("a byte order mark", b"\xef\xbb\xbf" + ENVELOPE),
    ("single quotes", b"{'type':'message','timestamp':1}"),
    ("a comment", b'{"type":"message",/**/"timestamp":1}'),
]


@pytest.mark.parametrize(("attack", "codes"), [pytest.param(*rest, id=name) for name, *rest in BROKEN])
async def test_a_broken_frame_gets_its_close_code(
    start_server, open_socket, neighbour_of, make_frame, engine, attack, codes
):
    server = await start_server(engine=engine, max_message_bytes=LIMIT)
    neighbour = await neighbour_of(server.url)
    attacker = await open_socket(server.url)
    await attacker.send(attack(make_frame))
    assert await attacker.close_code() in codes
    await neighbour.notices_nothing()


async def test_a_message_that_is_none_gets_an_error_and_the_connection_stays(
    start_server, open_socket, neighbour_of, make_frame, engine
):
    server = await start_server(engine=engine)
    neighbour = await neighbour_of(server.url)
    attacker = await open_socket(server.url)
    for name, payload in INVALID:
        await attacker.send(make_frame(TEXT, payload))
        error = await attacker.receive_type("error")
        assert error["data"]["code"] == "INVALID_MESSAGE", name
    await attacker.send_json({"type": "ping", "timestamp": 1})
    await attacker.receive_type("pong")
    await neighbour.notices_nothing()


async def test_of_duplicate_keys_the_last_one_counts(start_server, open_socket, make_frame, engine):
    server = await start_server(engine=engine)
    peer = await open_socket(server.url)
    await peer.send(make_frame(TEXT, b'{"type":"ping","type":"message","timestamp":1,"data":1,"data":{"last":2}}'))
    assert (await peer.receive_type("message"))["data"] == {"last": 2}


async def test_odd_numbers_travel_as_they_are_and_those_that_break_receivers_do_not(
    start_server, open_socket, make_frame, engine
):
    server = await start_server(engine=engine)
    peer = await open_socket(server.url)
    for number in (b"-1e-999", b"1" + b"0" * 307, b"-0.0", b"1.10"):
        await peer.send(make_frame(TEXT, b'{"type":"message","timestamp":1,"data":' + number + b"}"))
        opcode, payload = await peer.receive()
        assert opcode == TEXT
        assert b'"data":' + number in payload
    for number in (b"1e999", b"1" + b"0" * 100_000):
        await peer.send(make_frame(TEXT, b'{"type":"message","timestamp":1,"data":' + number + b"}"))
        assert (await peer.receive_type("error"))["data"]["code"] == "INVALID_MESSAGE"


async def test_a_character_may_be_split_over_fragments_and_bytes_may_come_one_by_one(
    start_server, open_socket, make_frame, engine
):
    server = await start_server(engine=engine)
    peer = await open_socket(server.url)
    await peer.send(fragments(make_frame, *(bytes([byte]) for byte in ENVELOPE)))
    assert (await peer.receive_type("message"))["data"] == "café"
    for byte in make_frame(TEXT, ENVELOPE):
        await peer.send(bytes([byte]))
    assert (await peer.receive_type("message"))["data"] == "café"
    await peer.send(make_frame(PING, b"between"), make_frame(TEXT, ENVELOPE))
    assert await peer.receive() == (PONG, b"between")
    assert (await peer.receive_type("message"))["data"] == "café"


async def test_pings_between_fragments_are_answered(start_server, open_socket, make_frame, engine):
    server = await start_server(engine=engine)
    peer = await open_socket(server.url)
    await peer.send(make_frame(TEXT, ENVELOPE[:9], fin=False), make_frame(PING, b"1"), make_frame(CONT, ENVELOPE[9:]))
    assert await peer.receive() == (PONG, b"1")
    assert (await peer.receive_type("message"))["data"] == "café"


@pytest.mark.parametrize("size", [512, 64])
async def test_a_large_message_may_come_in_small_fragments(start_server, open_socket, make_frame, engine, size):
    server = await start_server(engine=engine, max_message_bytes=1 << 20)
    peer = await open_socket(server.url)
    message = b'{"type":"message","timestamp":1,"data":"' + b"x" * 600_000 + b'"}'
    await peer.send(fragments(make_frame, *(message[at : at + size] for at in range(0, len(message), size))))
    assert len((await peer.receive_type("message"))["data"]) == 600_000


async def test_a_message_of_exactly_the_limit_may_come_in_fragments(start_server, open_socket, make_frame, engine):
    server = await start_server(engine=engine, max_message_bytes=2048)
    peer = await open_socket(server.url)
    message = b'{"type":"message","timestamp":1,"data":"'.ljust(2046, b"x") + b'"}'
    await peer.send(fragments(make_frame, message[:2047], message[2047:]))
    assert len(await peer.receive_type("message")) > 1


@pytest.mark.parametrize(
    ("last", "code"), [((CLOSE, b"\x03\xe8"), 1000), ((BINARY, b"\x00"), 1003), ((TEXT, b"\xff"), 1007)]
)
async def test_what_follows_the_end_is_not_handled(start_server, open_socket, make_frame, engine, last, code):
    server = await start_server(engine=engine)
    listener = await open_socket(server.url, session="room")
    attacker = await open_socket(server.url, session="room")
    await attacker.send(make_frame(*last), make_frame(TEXT, ENVELOPE))
    assert await attacker.close_code() == code
    await listener.send_json({"type": "ping", "timestamp": 1})
    assert json.loads((await listener.receive())[1])["type"] == "pong"


async def test_a_peer_that_vanishes_inside_a_frame_leaves_nothing_behind(
    start_server, open_socket, neighbour_of, make_frame, engine
):
    server = await start_server(engine=engine)
    neighbour = await neighbour_of(server.url)
    for cut in (1, 5, 20):
        attacker = await open_socket(server.url)
        await attacker.send(make_frame(TEXT, ENVELOPE)[:cut])
        raw = attacker.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        attacker.writer.transport.abort()
    async with asyncio.timeout(20):
        while len(server.connections) > 1:
            await asyncio.sleep(0.01)
    await neighbour.notices_nothing()


@pytest.mark.parametrize("padding", [2, 8])
async def test_a_length_written_longer_than_needed_is_refused_or_harmless(
    start_server, open_socket, make_frame, engine, padding
):
    """RFC 6455 section 5.2 wants the shortest form of a sender, and leaves open what a receiver does."""
    server = await start_server(engine=engine)
    peer = await open_socket(server.url)
    await peer.send(make_frame(TEXT, ENVELOPE, size_bytes=padding))
    if engine is EngineName.PICOWS:
        assert await peer.close_code() == 1002
    else:
        assert (await peer.receive_type("message"))["data"] == "café"


@pytest.mark.parametrize("pings", [1, 5000])
async def test_what_comes_along_with_the_request_is_answered_after_the_101_and_within_the_rates(
    start_server, make_frame, engine, pings
):
    # So slow a rate that a busy machine lets none more through.
    server = await start_server(engine=engine, rates=RatePolicy(messages=Rate(0.01, 200)))
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        f"GET {parts.path}?token={mint_guest_token(uuid.uuid4(), time.time_ns() // 1_000_000)} HTTP/1.1\r\n"
        f"Host: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        + b"".join(make_frame(PING, b"%d" % n) for n in range(pings))
        + make_frame(CLOSE, b"\x03\xe8")
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert head.startswith(b"HTTP/1.1 101 ")
    rest = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    assert rest.startswith(b"\x81")  # the greeting or an error: text in one frame
    pongs = rest.count(b"\x8a")
    assert pongs == min(pings, 200)

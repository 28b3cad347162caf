"""What a dial of the load generator comes to when the target is no server, without waiting for what cannot come."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from picows import WSListener

from loadtest.generator.dialing import Dialer, reason
from loadtest.wire import Headers, Tokens

HANG_S = 5  # half of what it waits for a greeting


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"\x15\x03\x03\x00\x02\x02\x46"])
async def test_a_target_that_hangs_up_without_an_answer_is_no_connection(answer):
    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with listening, asyncio.timeout(HANG_S):
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(Exception) as failed:  # noqa: PT011 # several kinds, which `reason` puts into words
            await Dialer(f"ws://127.0.0.1:{port}/", Tokens()).dial(WSListener(), 0, {})
    assert reason(failed.value) == "no WebSocket answer"


@pytest.mark.parametrize(
    ("headers", "has_token"),
    [
        ((("X-Key", "1"),), True),
        ((("authorization", "Bearer t"),), False),
        ((("authorization", "Basic YTpi"),), True),  # for the proxy before the server
        ((("Sec-WebSocket-Protocol", "wsctl.v1, token.dA"),), False),
        ((("Sec-WebSocket-Protocol", "wsctl.v1"),), True),
    ],
)
async def test_headers_go_along_and_one_with_a_token_takes_the_place_of_a_guests(headers, has_token):
    requests: list[bytes] = []

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    listening = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with listening, asyncio.timeout(HANG_S):
        url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        with pytest.raises(Exception):  # noqa: B017, PT011 # as above; it has no answer
            await Dialer(url, Tokens(), headers=Headers(headers)).dial(WSListener(), 0, {})
    (request,) = requests
    assert all(f"{name}: {value}\r\n".encode() in request for name, value in headers)
    assert (b"?token=" in request) == has_token


@pytest.mark.parametrize(("tokens", "has_token"), [(Tokens(), True), (Tokens(is_none=True), False)])
async def test_without_a_token_no_guest_is_made_up(tokens, has_token):
    requests: list[bytes] = []

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    listening = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with listening, asyncio.timeout(HANG_S):
        url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        with pytest.raises(Exception):  # noqa: B017, PT011 # as above; it has no answer
            await Dialer(url, tokens).dial(WSListener(), 0, {})
    assert [b"?token=" in request for request in requests] == [has_token]


async def test_a_client_certificate_is_shown_to_a_server_that_asks_for_one(make_certificate):
    made, own = make_certificate("127.0.0.1"), make_certificate("load")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(own.cert))
    tls.load_cert_chain(made.cert, made.key)
    tls.verify_mode = ssl.CERT_REQUIRED
    shown: list[object] = []

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("peercert")["subject"])
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(on_connection, "127.0.0.1", 0, ssl=tls)
    async with listening, asyncio.timeout(HANG_S):
        url = f"wss://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        files = {"ca": str(made.cert), "cert": str(own.cert), "key": str(own.key)}
        with pytest.raises(Exception):  # noqa: B017, PT011 # as above; it has no answer
            await Dialer(url, Tokens(), **files).dial(WSListener(), 0, {})
    assert shown == [((("commonName", "load"),),)]


def test_the_values_of_headers_are_in_no_repr():
    assert repr(Headers((("X-Key", "hidden"),))) == "Headers(X-Key)"

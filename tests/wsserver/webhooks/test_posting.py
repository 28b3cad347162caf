"""What a backend writes where nobody has asked, too much of it, or not as HTTP: no answer is taken for another."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.backend import SECRET
from wsserver.webhooks.exchange import PostError
from wsserver.webhooks.posting import Poster
from wsserver.webhooks.settings import HookUrl
from wsserver.webhooks.signing import SigningKeys

HANG_S = 20
KEYS = SigningKeys([SECRET], "test")


def answer(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


class ScriptedBackend:
    """Writes for each request what `writes` has next, and hangs up behind what is None."""

    def __init__(self) -> None:
        self.writes: list[bytes | None] = []
        self.connections: list[asyncio.StreamWriter] = []
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"(?i)content-length: (\d+)", head)
                assert found is not None
                self.requests.append(head + await reader.readexactly(int(found[1])))
                written = self.writes.pop(0)
                if written is not None:
                    writer.write(written)
                if not self.writes or self.writes[0] is None:
                    self.writes[:1] = []
                    writer.close()
                    return
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


@pytest.fixture
async def backend():
    scripted = ScriptedBackend()
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    scripted.poster = Poster(HookUrl("--test", f"http://127.0.0.1:{port}/a?b=c"), KEYS, lambda: 5000, timeout_s=HANG_S)
    yield scripted
    scripted.poster.close()
    server.close()
    for writer in scripted.connections:
        writer.close()


async def bodies(backend, count):
    return [(await backend.poster.post(f"m{number}", b"{}")).body for number in range(count)]


async def test_a_connection_is_kept_from_request_to_request(backend):
    backend.writes = [answer(b"1"), answer(b"2"), answer(b"3"), b""]
    assert await bodies(backend, 3) == [b"1", b"2", b"3"]
    assert len(backend.connections) == 1
    assert backend.requests[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")


async def test_what_stands_behind_an_answer_is_not_the_answer_to_the_next_request(backend):
    backend.writes = [answer(b"mine") + answer(b"of nobody"), answer(b"yours"), b""]
    assert await bodies(backend, 2) == [b"mine", b"yours"]
    assert len(backend.connections) == 2


async def test_what_comes_while_nobody_asks_is_not_an_answer_either(backend):
    backend.writes = [answer(b"mine"), answer(b"yours"), b""]
    assert await bodies(backend, 1) == [b"mine"]
    (first,) = backend.connections
    first.write(answer(b"of nobody"))
    async with asyncio.timeout(HANG_S):
        while any(connection.is_free for connection in backend.poster._idle):
            await asyncio.sleep(0)
    assert await bodies(backend, 1) == [b"yours"]
    assert len(backend.connections) == 2


async def test_an_answer_of_two_lengths_is_the_last_of_its_connection(backend):
    both = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n"
    backend.writes = [both, answer(b"yours"), b""]
    assert await bodies(backend, 2) == [b"mine", b"yours"]
    assert len(backend.connections) == 2


async def test_a_connection_that_the_backend_has_closed_costs_no_request(backend):
    backend.writes = [answer(b"1"), None, answer(b"2"), None, answer(b"3"), b""]
    assert await bodies(backend, 3) == [b"1", b"2", b"3"]
    assert len(backend.connections) == 3


async def test_an_answer_may_end_with_its_connection(backend):
    backend.writes = [b"HTTP/1.0 200 OK\r\n\r\nwhole", None]
    assert await bodies(backend, 1) == [b"whole"]
    assert not backend.poster._idle


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (answer(b"x" * 65537), "more than 64 KiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", "more than 64 KiB"),  # nobody waits for the rest
        (CHUNKED + b"1;" + b"y" * 9000 + b"\r\nx\r\n", "connection was lost"),
        (CHUNKED + (b"1;" + b"y" * 90 + b"\r\nx\r\n") * 2000, "more than 512 parts"),
        (CHUNKED + b"1\r\nx\r\n" * 40_000, "more than 512 parts"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, "more than 512 parts|16 KiB of head"),
        ((b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 900 + b"\r\n\r\n") * 300, "16 KiB of head"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 10_000, "speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", "speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "connection was lost"),
        (b"HTTP/1.1 200 OK\r\nConte", "connection was lost"),
        (b"\x16\x03\x01\x02\x00", "connection was lost|speak HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "speak HTTP"),
        (b"", "connection was lost"),
    ],
)
async def test_an_answer_that_is_none_is_told_and_its_connection_is_over(backend, written, problem):
    backend.writes = [written, None, answer(b"good"), b""]
    with pytest.raises(PostError, match=problem) as raised:
        await asyncio.wait_for(backend.poster.post("m", b"{}"), HANG_S)
    assert "127.0.0.1" not in str(raised.value)
    assert await bodies(backend, 1) == [b"good"]
    assert len(backend.connections) == 2


async def test_who_gives_up_leaves_nothing_for_the_next(backend):
    backend.writes = [b"", answer(b"good"), b""]
    asking = asyncio.create_task(backend.poster.post("m", b"{}"))
    async with asyncio.timeout(HANG_S):
        while not backend.requests:
            await asyncio.sleep(0.001)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not backend.poster._idle
    assert await bodies(backend, 1) == [b"good"]
    assert len(backend.connections) == 2

"""The connection to Redis: each reply is handed on once and in order, however it comes, and the end is noticed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from wsserver.brokers.rediswire import READ_BYTES, RedisWire

WAIT_S = 20


class Peer:
    """A wire, and the other end of its connection."""

    def __init__(self) -> None:
        self.replies = []
        self.lost = asyncio.Event()
        self.arrived = asyncio.Event()
        self.wanted = 0

    def take(self, reply):
        self.replies.append(reply)
        if len(self.replies) >= self.wanted:
            self.arrived.set()

    async def until(self, count):
        self.wanted = count
        self.arrived.clear()
        if len(self.replies) < count:
            await asyncio.wait_for(self.arrived.wait(), WAIT_S)

    async def say(self, first, count, *, apart=True):
        for number in range(first, first + count):
            self.writer.write(b":%d\r\n" % number)
            if apart:
                await asyncio.sleep(0)

    async def until_fetched(self, first):
        """Speak until replies are fetched; returns the next number."""
        while self.wire._transport.is_reading():
            await self.say(first, 1)
            await self.until(first + 1)
            first += 1
            assert first < 20_000
        return first


@asynccontextmanager
async def connected(*, gathers=True):
    peer = Peer()
    accepted = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda reader, writer: accepted.set_result((reader, writer)), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, peer.wire = await asyncio.get_running_loop().create_connection(
        lambda: RedisWire(peer.take, lambda _error: peer.lost.set(), gathers=gathers), "127.0.0.1", port
    )
    peer.reader, peer.writer = await accepted
    try:
        yield peer
    finally:
        peer.wire.abort()
        peer.writer.close()
        server.close()


async def test_replies_that_come_close_together_are_fetched_all_and_in_order():
    async with connected() as peer:
        first = await peer.until_fetched(0)
        await peer.say(first, 500)
        await peer.until(first + 500)
        while not peer.wire._transport.is_reading():  # nothing comes any more: it waits again
            await asyncio.sleep(0.001)
        await peer.say(first + 500, 1)
        await peer.until(first + 501)
        assert peer.replies == list(range(first + 501))


async def test_replies_that_come_one_by_one_again_are_waited_for():
    async with connected() as peer:
        first = await peer.until_fetched(0)
        await peer.say(first, 1)
        await peer.until(first + 1)
        assert peer.wire._transport.is_reading()
        assert peer.replies == list(range(first + 1))


async def test_more_than_is_fetched_at_once_comes_whole():
    async with connected() as peer:
        first = await peer.until_fetched(0)
        count = 3 * READ_BYTES // 8
        await peer.say(first, count, apart=False)
        await peer.until(first + count)
        assert peer.replies == list(range(first + count))


async def test_an_end_is_noticed_while_replies_are_fetched():
    async with connected() as peer:
        first = await peer.until_fetched(0)
        await peer.say(first, 1)
        peer.writer.close()
        await asyncio.wait_for(peer.lost.wait(), WAIT_S)
        assert peer.replies == list(range(first + 1))


async def test_nothing_is_fetched_once_it_is_dropped():
    async with connected() as peer:
        first = await peer.until_fetched(0)
        peer.wire.abort()
        await peer.say(first, 10)
        await asyncio.sleep(0.01)
        assert peer.replies == list(range(first))


async def test_a_reply_behind_the_one_that_drops_the_connection_is_not_handed_on():
    async with connected() as peer:
        taken = []

        def take(reply):
            taken.append(reply)
            peer.wire.abort()

        peer.wire.on_reply = take
        peer.writer.write(b":1\r\n:2\r\n")
        await asyncio.wait_for(peer.lost.wait(), WAIT_S)
        assert taken == [1]


async def test_a_connection_whose_calls_wait_for_each_other_is_always_read():
    async with connected(gathers=False) as peer:
        for number in range(300):
            await peer.say(number, 1)
            await peer.until(number + 1)
            assert peer.wire._transport.is_reading()


async def test_calls_between_hold_and_release_go_out_at_once_and_in_one_piece():
    async with connected() as peer:
        peer.wire.hold()
        peer.wire.call("PING", 1)
        peer.wire.call("PING", 2)
        peer.wire.release()
        peer.wire.call("PING", 3)
        said = await asyncio.wait_for(peer.reader.readexactly(3 * len(b"*2\r\n$4\r\nPING\r\n$1\r\n1\r\n")), WAIT_S)
        assert said == b"".join(b"*2\r\n$4\r\nPING\r\n$1\r\n%d\r\n" % number for number in (1, 2, 3))

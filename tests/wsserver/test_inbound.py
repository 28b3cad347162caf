"""What waits for an app's handlers: bounded in bytes, fair between clients, and gone with its client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from wscore.heartbeat import HeartbeatPolicy
from wsserver import App, Context
from wsserver.connections.inbound import InboundLimits, InboundMemory

HANG_S = 20
KIB = 1 << 10


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(HANG_S):
        while not condition():
            await asyncio.sleep(0.001)


class Gate:
    """An app whose handlers wait until they are let through, one by one or all."""

    def __init__(self) -> None:
        self.app = App()
        self.started: list[object] = []
        self.ended: list[object] = []
        self._open = asyncio.Event()
        self._passes = asyncio.Semaphore(0)

        @self.app.on("slow")
        async def slow(ctx: Context, data: list[object]) -> None:
            await self._work(ctx, data)

        @self.app.on("kept", outlives_client=True)
        async def kept(ctx: Context, data: list[object]) -> None:
            await self._work(ctx, data)

    async def _work(self, ctx: Context, data: list[object]) -> None:
        self.started.append(data[0])
        try:
            if not self._open.is_set():
                await self._passes.acquire()
        finally:
            self.ended.append(data[0])
        ctx.reply("done", data[0])

    def let_through(self, count: int) -> None:
        for _ in range(count):
            self._passes.release()

    def open(self) -> None:
        self._open.set()
        self.let_through(10_000)


def held_back(server, client) -> bool:
    connection = server.connections.get(client.greeting["data"]["connectionId"])
    return connection is not None and connection.handlers is not None and connection.handlers.holds_peer_back


def memory(server) -> InboundMemory:
    return server._inbound


async def test_a_connection_over_its_bytes_is_held_back_and_loses_nothing(start_server, open_raw, engine):
    gate = Gate()
    server = await start_server(gate.app, engine=engine, inbound=InboundLimits(64 * KIB, 64 << 20))
    client, neighbour = await open_raw(server.url), await open_raw(server.url)
    sending = asyncio.create_task(send_all(client, "slow", 40, "x" * 10 * KIB))
    await until(lambda: held_back(server, client))
    assert memory(server).used < 64 * KIB + 2 * 11 * KIB + 64 * KIB  # a read of the engine may bring more at once
    await neighbour.send("slow", ["n"])
    await neighbour.send("ping")
    assert (await neighbour.receive())["type"] == "pong"
    assert not held_back(server, neighbour)
    gate.open()
    assert [(await client.receive())["data"] for _ in range(40)] == list(range(40))
    await sending
    await until(lambda: memory(server).used == 0)
    assert not held_back(server, client)


async def send_all(client, kind: str, count: int, filler: str) -> None:
    for n in range(count):
        await client.send(kind, [n, filler])


async def test_when_all_is_full_everyone_is_served_in_turn_and_nothing_is_lost(start_server, open_raw, engine, caplog):
    gate = Gate()
    limits = InboundLimits(per_connection=3 << 20, in_all=4 << 20)
    server = await start_server(gate.app, engine=engine, inbound=limits, max_message_bytes=128 * KIB)
    clients = [await open_raw(server.url) for _ in range(6)]
    greedy, others = clients[0], clients[1:]
    sending = [asyncio.create_task(send_all(greedy, "slow", 40, "x" * 100 * KIB))]
    await until(lambda: memory(server).is_full)
    sending += [asyncio.create_task(send_all(other, "slow", 10, "y" * 100 * KIB)) for other in others]
    await until(lambda: all(held_back(server, client) for client in clients))
    assert memory(server).used <= limits.waiting
    answered: set[int] = set()

    async def take(number: int, count: int) -> list[object]:
        got = []
        for _ in range(count):
            got.append((await clients[number].receive_type("done"))["data"])
            answered.add(number)
            assert memory(server).used <= limits.waiting
        return got

    taking = [asyncio.create_task(take(number, 40 if number == 0 else 10)) for number in range(6)]
    gate.let_through(60)
    await until(lambda: len(answered) == 6)  # long before the greedy one has had all that it sent
    gate.open()
    assert [await item for item in taking] == [list(range(40)), *[list(range(10))] * 5]
    await asyncio.gather(*sending)
    await until(lambda: memory(server).used == 0)
    assert not any(held_back(server, client) for client in clients)
    assert server.metrics.dropped["no-room"].value == 0
    assert [record for record in caplog.records if record.message == "inbound.full"]


async def test_a_message_for_which_there_is_no_room_at_all_is_refused_counted_and_told(start_server, open_raw, engine):
    gate = Gate()
    limits = InboundLimits(per_connection=20 * KIB, in_all=27 * KIB)
    server = await start_server(gate.app, engine=engine, inbound=limits, max_message_bytes=8 * KIB)
    clients = [await open_raw(server.url) for _ in range(4)]
    for n, client in enumerate(clients[:3]):  # each with nothing waiting, so none is held back before it sends
        await client.send("slow", [n, "x" * 6 * KIB], id=f"q{n}")
        await until(lambda n=n: len(gate.started) == n + 1)
    await clients[3].send("slow", [3, "x" * 6 * KIB], id="q3")
    error = await clients[3].receive()
    assert (error["id"], error["data"]["code"], error["data"]["retryable"]) == ("q3", "PROCESSING_ERROR", True)
    assert server.metrics.dropped["no-room"].value == 1
    assert memory(server).used <= limits.waiting
    assert held_back(server, clients[3])
    gate.open()
    for n, client in enumerate(clients[:3]):
        assert (await client.receive())["data"] == n
    await clients[3].send("slow", [3, "again"])
    assert (await clients[3].receive())["data"] == 3


async def test_data_that_grows_much_when_it_is_decoded_waits_for_room_and_hinders_nobody_else(
    start_server, open_raw, engine
):
    gate = Gate()
    limits = InboundLimits(per_connection=500 * KIB, in_all=500 * KIB)
    server = await start_server(gate.app, engine=engine, inbound=limits, max_message_bytes=100 * KIB)
    heavy = [await open_raw(server.url) for _ in range(3)]
    for n, client in enumerate(heavy):
        await client.send("slow", [n, *[[]] * 10_000], id="q")  # 40 KB, and 1.2 MB decoded
    await until(lambda: len(gate.started) == 1)
    light = await open_raw(server.url)
    await light.send("slow", ["light"])
    await until(lambda: len(gate.started) == 2)
    gate.let_through(2)
    assert (await light.receive())["data"] == "light"
    await until(lambda: len(gate.started) == 3)
    third = next(peer for n, peer in enumerate(heavy) if n not in gate.started)
    await third.ws.close()  # while it waits
    gate.open()
    assert sorted([(await peer.receive())["data"] for peer in heavy if peer is not third]) == sorted(
        n for n in range(3) if heavy[n] is not third
    )
    await until(lambda: memory(server).used == 0)
    assert (len(gate.started), server.metrics.handlers_cancelled.value) == (3, 1)


async def test_data_that_does_not_fit_is_answered_in_its_turn(start_server, open_raw):
    gate = Gate()
    server = await start_server(gate.app)
    client = await open_raw(server.url)
    await client.send("slow", [0], id="0")
    await client.send("slow", {"no": "list"}, id="1")
    await client.send("slow", [2], id="2")
    await client.send("ping")
    assert (await client.receive())["type"] == "pong"
    gate.open()
    answers = [await client.receive() for _ in range(3)]
    assert [message.get("data", {}) for message in (answers[0], answers[2])] == [0, 2]
    assert (answers[1]["id"], answers[1]["data"]["code"]) == ("1", "INVALID_MESSAGE")


@pytest.mark.parametrize("leaving", ["close", "abort"])
async def test_a_client_that_goes_takes_along_what_waits_and_what_runs(start_server, open_raw, engine, caplog, leaving):
    gate = Gate()
    server = await start_server(gate.app, engine=engine)
    client = await open_raw(server.url)
    for n in range(20):
        await client.send("slow", [n])
    await until(lambda: gate.started == [0])
    with caplog.at_level(logging.DEBUG, "wsctl"):
        if leaving == "close":
            await client.ws.close()
        else:
            client.ws.transport.abort()
        await until(lambda: len(server.connections) == 0 and gate.ended == [0])
    await until(lambda: memory(server).used == 0)
    assert gate.started == [0]
    metrics = server.metrics
    assert (metrics.dropped["client-gone"].value, metrics.handlers_cancelled.value, metrics.handlers_failed.value) == (
        19,
        1,
        0,
    )
    assert {"messages.abandoned", "handler.cancelled"} <= {record.message for record in caplog.records}


async def test_the_end_of_a_client_that_is_not_read_is_noticed(start_server, open_raw, engine):
    gate = Gate()
    server = await start_server(gate.app, engine=engine, inbound=InboundLimits(10 * KIB, 64 << 20))
    for _ in range(3):
        client, other = await open_raw(server.url), await open_raw(server.url)
        for n in range(4):
            await client.send("slow", [n, "x" * 4 * KIB])
            await other.send("slow", [n, "x" * 4 * KIB])
        await until(lambda client=client, other=other: held_back(server, client) and held_back(server, other))
        before = len(gate.started)
        client.ws.transport.abort()
        await until(lambda: len(server.connections) == 1)
        assert len(gate.started) == before
        gate.let_through(4)  # the other one goes on
        assert [(await other.receive())["data"] for _ in range(4)] == [0, 1, 2, 3]
        assert not held_back(server, other)
        await other.ws.close()
        await until(lambda: len(server.connections) == 0)
    assert memory(server).used == 0


@pytest.mark.parametrize(
    "limits", [InboundLimits(10 * KIB, 64 << 20), InboundLimits(400 * KIB, 400 * KIB)], ids=["its own", "all"]
)
async def test_a_client_that_is_not_read_is_not_timed_out(start_server, open_raw, engine, limits):
    gate = Gate()
    server = await start_server(
        gate.app, engine=engine, inbound=limits, max_message_bytes=64 * KIB, heartbeat=HeartbeatPolicy(100, 500)
    )
    client = await open_raw(server.url)
    sending = asyncio.create_task(send_all(client, "slow", 12, "x" * 30 * KIB))
    await until(lambda: held_back(server, client))
    silent = await open_raw(server.url)  # it comes later, so the other has been silent for longer when it goes
    assert await silent.close_code() == 4002
    assert len(server.connections) == 1
    assert server.metrics.value("wsctl_connections_closed_total", disconnect="heartbeat-timeout") == 1
    gate.open()
    await sending
    done, refused = [], 0
    while len(done) + refused < 12:
        await client.send("pong")  # it is read again, so it has to give signs of life again
        envelope = await client.receive()
        if envelope["type"] == "done":
            done.append(envelope["data"])
        # What one read brought after all was full is answered instead of kept.
        refused += envelope["type"] == "error" and envelope["data"]["code"] == "PROCESSING_ERROR"
    assert done == list(range(12 - refused))
    assert server.metrics.value("wsctl_errors_total") == refused


async def test_a_client_that_is_read_again_has_its_whole_time_for_a_sign_of_life(start_server, open_raw, engine):
    gate = Gate()
    limits = InboundLimits(10 * KIB, 64 << 20)
    server = await start_server(gate.app, engine=engine, inbound=limits, heartbeat=HeartbeatPolicy(600_000, 700_000))
    client = await open_raw(server.url)
    await send_all(client, "slow", 2, "x" * 30 * KIB)
    await until(lambda: held_back(server, client))
    connection = server.connections.get(client.greeting["data"]["connectionId"])
    gate.open()
    await until(lambda: not held_back(server, client))
    server._heartbeats._reap(connection)  # its time ran out in the very moment in which it was let go
    assert connection.is_open
    server._heartbeats._reap(connection)  # and now it had all of it, and said nothing
    assert not connection.is_open


async def test_a_handler_that_outlives_its_client_is_called_and_runs_to_its_end(start_server, open_raw, engine):
    gate = Gate()
    left: list[list[object]] = []

    @gate.app.on_disconnect
    async def gone(ctx: Context) -> None:
        left.append(list(gate.ended))

    server = await start_server(gate.app, engine=engine)
    client = await open_raw(server.url)
    await client.send("kept", [0])
    await client.send("slow", [1])
    await client.send("kept", [2])
    await until(lambda: gate.started == [0])
    await client.ws.close()
    await until(lambda: len(server.connections) == 0)
    gate.open()
    await until(lambda: left)
    assert left == [[0, 2]]  # the hook comes last
    assert server.metrics.dropped["client-gone"].value == 1
    assert memory(server).used == 0


async def test_hooks_are_called_in_pairs_however_short_the_visit(start_server, open_raw, engine):
    app, seen = App(), []
    gate = asyncio.Event()

    @app.on_connect
    async def come(ctx: Context) -> None:
        await gate.wait()
        seen.append("+1")

    @app.on_connect
    async def come_too(ctx: Context) -> None:
        seen.append("+2")

    @app.on_disconnect
    def go(ctx: Context) -> None:
        seen.append(f"- {ctx.reply('x')}")

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    await client.ws.close()
    await until(lambda: len(server.connections) == 0)
    assert seen == []
    gate.set()
    await until(lambda: len(seen) == 3)
    assert seen == ["+1", "+2", "- False"]


async def test_a_handler_that_runs_at_the_shutdown_may_end_within_its_time(start_server, open_raw, engine):
    gate = Gate()
    server = await start_server(gate.app, engine=engine)
    client = await open_raw(server.url)
    await client.send("slow", [0])
    await client.send("slow", [1])
    await until(lambda: gate.started == [0])
    stopping = asyncio.create_task(server.stop())
    assert await client.close_code() == 1001
    await until(lambda: len(server.connections) == 0)
    assert gate.ended == []
    gate.open()
    await stopping
    assert (gate.started, gate.ended) == ([0], [0])
    assert (server.metrics.handlers_cancelled.value, server.metrics.dropped["client-gone"].value) == (0, 1)


async def test_a_coroutine_that_never_got_its_turn_is_closed(start_server, open_raw):
    app = App()

    async def work() -> None:
        raise AssertionError("must not run")

    @app.on("hidden")
    def hidden(ctx: Context):
        ctx.close()
        asyncio.get_running_loop().call_soon(closed)  # before the task of the queue begins
        return work()

    def closed() -> None:
        (connection,) = server.connections.all()
        connection.channel.abort()
        server._controller.closed(connection, 1006, "", None)
        server._controller.closed = lambda *_: None  # the engine's own call comes too late

    server = await start_server(app)
    client = await open_raw(server.url)
    real_closed = server._controller.closed
    await client.send("hidden")
    await until(lambda: len(server.connections) == 0)
    server._controller.closed = real_closed
    assert server.metrics.dropped["client-gone"].value == 1

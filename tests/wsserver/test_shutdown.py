"""The end of a server: one budget of time, of which everybody has a share, and an order that apps can rely on."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from wsserver import App, Context, Principal
from wsserver.brokers.base import SESSION
from wsserver.brokers.memory import MemoryBroker
from wsserver.connections.groups import Groups
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.state import Group
from wsserver.connections.users import UserGroups
from wsserver.sdk.lifespans import LifespanError
from wsserver.telemetry.budget import ALL, BACKGROUND, GOODBYE, HANDLERS, LIFESPANS, AbandonedError, Budget

ALICE = Principal("alice", False, 0)
HANG_S = 20


async def test_everybody_who_waits_for_an_empty_server_hears_of_it():
    groups = Groups(MemoryBroker())
    manager = ConnectionManager(groups, UserGroups(groups, for_guests=True))
    await manager.wait_empty()
    connection = SimpleNamespace(id="one", session=Group(SESSION, "room"), principal=ALICE)
    manager.register(connection)
    waiting = [asyncio.create_task(manager.wait_empty()) for _ in range(3)]
    await asyncio.sleep(0)
    manager.unregister("one")
    async with asyncio.timeout(HANG_S):
        await asyncio.gather(*waiting)


async def test_who_waits_for_an_empty_server_is_not_told_while_somebody_is_there():
    groups = Groups(MemoryBroker())
    manager = ConnectionManager(groups, UserGroups(groups, for_guests=True))
    manager.register(SimpleNamespace(id="one", session=Group(SESSION, "room"), principal=ALICE))
    waiting = asyncio.create_task(manager.wait_empty())
    await asyncio.sleep(0)
    manager.unregister("one")
    manager.register(SimpleNamespace(id="two", session=Group(SESSION, "room"), principal=ALICE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    manager.unregister("two")
    async with asyncio.timeout(HANG_S):
        await waiting


async def test_the_shares_of_a_budget_end_one_after_the_other_and_none_is_negative():
    budget = Budget(100)
    lefts = [budget.left_s(share) for share in (GOODBYE, HANDLERS, BACKGROUND, LIFESPANS, ALL)]
    assert lefts == sorted(lefts)
    assert lefts == pytest.approx([60, 75, 85, 95, 100], abs=1)
    budget.cut(0)
    assert budget.left_s(ALL) == 0


async def test_a_silent_peer_takes_no_time_from_what_the_app_takes_down(start_server, open_raw, engine):
    app, told = App(), []

    @app.lifespan
    async def running(hub):
        yield
        await asyncio.sleep(0.05)
        told.append("lifespan")

    @app.on("work")
    async def work(ctx: Context) -> None:
        told.append("begun")
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.02)
            told.append("handler")

    server = await start_server(app=app, engine=engine, drain_timeout_ms=1000, close_timeout_ms=60_000)
    silent = await open_raw(server.url)
    await silent.send("work")
    while not told:
        await asyncio.sleep(0.01)
    silent.ws.transport.pause_reading()  # it never sees the close frame
    async with asyncio.timeout(HANG_S):
        await server.stop()
    silent.ws.transport.abort()
    assert told == ["begun", "handler", "lifespan"]
    assert len(server.connections) == 0


async def test_a_lifespan_runs_in_one_task_so_a_task_group_works_in_it(start_server, open_raw):
    app, told = App(), []

    @app.lifespan
    async def running(hub):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(3600))
            yield
            task.cancel()
        told.append("down")

    server = await start_server(app=app)
    await open_raw(server.url)
    async with asyncio.timeout(HANG_S):
        await server.stop()
    assert told == ["down"]


async def test_a_task_group_that_fails_takes_its_lifespan_down_and_the_stop_says_so(start_server, caplog):
    app, told = App(), []

    @app.lifespan
    async def outer(hub):
        yield
        told.append("outer")

    @app.lifespan
    async def failing(hub):
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0)).add_done_callback(lambda _: None)

            async def fail() -> None:
                raise ZeroDivisionError

            group.create_task(fail())
            yield

    server = await start_server(app=app)
    while not told:
        await asyncio.sleep(0.01)
    assert "app.failed" in caplog.text
    with pytest.raises(LifespanError, match=r"\(in .*failing\)"):
        await server.stop()


async def test_a_lifespan_that_takes_too_long_is_cut_short_and_those_around_it_still_end(start_server):
    app, told = App(), []

    @app.lifespan
    async def outer(hub):
        yield
        told.append("outer")

    @app.lifespan
    async def slow(hub):
        yield
        await asyncio.sleep(3600)

    server = await start_server(app=app, drain_timeout_ms=200)
    async with asyncio.timeout(HANG_S):
        with pytest.raises(LifespanError, match="did not end in time"):
            await server.stop()
    assert told == ["outer"]


async def test_what_swallows_its_cancellation_is_left_behind_and_named(start_server, open_raw, engine):
    app, released = App(), asyncio.Event()

    @app.on("stubborn")
    async def stubborn(ctx: Context) -> None:
        ctx.reply("begun")
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    server = await start_server(app=app, engine=engine, drain_timeout_ms=200)
    for _ in range(2):
        client = await open_raw(server.url)
        await client.send("stubborn")
        await client.receive_type("begun")
    async with asyncio.timeout(HANG_S):
        with pytest.raises(AbandonedError) as caught:
            await server.stop()
    assert caught.value.what == ("2 handlers",)
    assert "--drain-timeout (200ms)" in str(caught.value)
    released.set()


async def test_a_stop_that_is_cancelled_drops_everyone_at_once_and_still_ends_the_app(start_server, open_raw, engine):
    app, told = App(), []

    @app.lifespan
    async def running(hub):
        yield
        told.append("down")

    server = await start_server(
        app=app, engine=engine, drain_timeout_ms=3_600_000, close_timeout_ms=3_600_000, echo_path="/echo"
    )
    silent = await open_raw(server.url)
    silent.ws.transport.pause_reading()
    echo = await open_raw(server.url.replace("/socket.io/", "/echo"), greet=False)
    echo.ws.transport.pause_reading()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    stopping.cancel()
    async with asyncio.timeout(HANG_S):
        await asyncio.wait((stopping,))
    silent.ws.transport.abort()
    echo.ws.transport.abort()
    assert stopping.cancelled()
    assert told == ["down"]
    assert len(server.connections) == 0

"""Whatever an app's code raises ends in an answer, a log line and a queue that runs on."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
import uvloop
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from wsserver import App, Context, Hub, ServerSettings, WebSocketServer

HANG_S = 20


class OddError(BaseException):
    """A library's own BaseException, as trio's and pytest's are."""


async def await_a_cancelled_future() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def cancel_oneself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def await_a_failed_task() -> None:
    await asyncio.create_task(raise_(ZeroDivisionError))


async def raise_(error: type[BaseException]) -> None:
    raise error


RAISING: dict[str, Callable[[], object]] = {
    "cancelled future": await_a_cancelled_future,
    "cancelled task": cancel_oneself,
    "failed task": await_a_failed_task,
    "CancelledError": lambda: raise_(asyncio.CancelledError),
    "GeneratorExit": lambda: raise_(GeneratorExit),
    "StopAsyncIteration": lambda: raise_(StopAsyncIteration),
    "TimeoutError": lambda: raise_(TimeoutError),
    "OddError": lambda: raise_(OddError),
}
NOT_AWAITED: dict[str, type[BaseException]] = {
    error.__name__: error for error in (asyncio.CancelledError, GeneratorExit, StopIteration, OddError, RecursionError)
}


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.message == "handler.failed"]


@contextmanager
def nothing_unhandled():
    """Fail when the event loop is left with an exception that nobody took."""
    loop, left = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: left.append(context))
    yield
    assert not left


@pytest.mark.parametrize("how", RAISING)
async def test_whatever_an_async_handler_raises_is_answered_and_the_next_message_is_handled(
    start_server, open_raw, engine, caplog, how
):
    app = App()

    @app.on("boom")
    async def boom(ctx: Context) -> None:
        await RAISING[how]()  # type: ignore[misc]

    @app.on("fine")
    async def fine(ctx: Context, n: int) -> None:
        await asyncio.sleep(0)
        ctx.reply("done", n)

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    with caplog.at_level(logging.ERROR, "wsctl"), nothing_unhandled():
        for n in range(3):
            await client.send("boom", id=f"b{n}")
            await client.send("fine", n, id=f"f{n}")
        for n in range(3):
            error, done = await client.receive(), await client.receive()
            assert (error["id"], error["data"]["code"]) == (f"b{n}", "PROCESSING_ERROR")
            assert (done["id"], done["data"]) == (f"f{n}", n)
        await client.send("ping")
        assert (await client.receive())["type"] == "pong"
    assert len(failures(caplog)) == server.metrics.handlers_failed.value == 3
    assert all(record.exc_info is not None for record in failures(caplog))


@pytest.mark.parametrize("name", NOT_AWAITED)
async def test_whatever_a_plain_handler_raises_is_answered_at_once_and_in_the_queue(
    start_server, open_raw, engine, caplog, name
):
    app = App()

    @app.on("boom")
    def boom(ctx: Context) -> None:
        raise NOT_AWAITED[name]

    @app.on("wait")
    async def wait(ctx: Context) -> None:
        await asyncio.sleep(0)
        ctx.reply("waited")

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    with caplog.at_level(logging.ERROR, "wsctl"), nothing_unhandled():
        for kind in ("boom", "wait", "boom", "ping"):  # the second boom waits behind a handler that runs
            await client.send(kind, id=kind)
        answers = [await client.receive() for _ in range(4)]
    assert sorted(answer["type"] for answer in answers) == ["error", "error", "pong", "waited"]
    assert [answer["data"]["code"] for answer in answers if answer["type"] == "error"] == ["PROCESSING_ERROR"] * 2
    assert len(failures(caplog)) == 2


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError, OddError])
async def test_whatever_a_hook_raises_is_logged_and_takes_no_other_hook_along(
    start_server, open_raw, engine, caplog, kind, error
):
    app = App()
    gone = asyncio.Event()

    def sync_hook(ctx: Context) -> None:
        raise error

    async def async_hook(ctx: Context) -> None:
        raise error

    hook = sync_hook if kind == "sync" else async_hook
    app.on_connect(hook)
    app.on_disconnect(hook)

    @app.on_connect
    def greet(ctx: Context) -> None:
        ctx.reply("hello")

    @app.on_disconnect
    def left(ctx: Context) -> None:
        gone.set()

    server = await start_server(app, engine=engine)
    with caplog.at_level(logging.ERROR, "wsctl"), nothing_unhandled():
        client = await open_raw(server.url)
        assert [(await client.receive())["type"] for _ in range(2)] == ["error", "hello"]
        await client.ws.close()
        await asyncio.wait_for(gone.wait(), HANG_S)
    assert len(failures(caplog)) == 2


async def test_a_handler_cancelled_by_the_app_is_answered_and_the_queue_runs_on(start_server, open_raw, engine):
    app = App()
    running: list[asyncio.Task[None]] = []

    @app.on("work")
    async def work(ctx: Context) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.append(task)
        ctx.reply("started")
        await asyncio.sleep(HANG_S * 2)

    @app.on("stop")
    def stop(ctx: Context) -> None:
        running.pop().cancel()

    server = await start_server(app, engine=engine)
    client, operator = await open_raw(server.url), await open_raw(server.url)
    for n in range(2):
        await client.send("work", id=f"w{n}")
        assert (await client.receive())["type"] == "started"
        await operator.send("stop")
        error = await client.receive()
        assert (error["id"], error["data"]["code"]) == (f"w{n}", "PROCESSING_ERROR")


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("where", ["async", "sync", "hook", "spawned"])
@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt()])
def test_an_exit_in_an_apps_code_ends_the_server_in_order_then_the_loop(engine, new_loop, where, error, guest_token):
    seen: list[object] = []
    app = App()

    @app.on("async")
    async def leave(ctx: Context) -> None:
        raise error

    @app.on("sync")
    def leave_now(ctx: Context) -> None:
        raise error

    @app.on("spawned")
    async def spawn(ctx: Context) -> None:
        async def job() -> None:
            raise error

        ctx.hub.spawn(job())

    @app.on_disconnect
    def on_leaving(ctx: Context) -> None:
        if where == "hook":
            raise error

    @app.lifespan
    async def lifespan(hub: Hub):
        yield
        seen.append("lifespan closed")

    def talk(url: str) -> tuple[int | None, str | None]:
        with connect(f"{url}?token={guest_token()}", proxy=None) as neighbour:
            with connect(f"{url}?token={guest_token()}", proxy=None) as client:
                if where != "hook":
                    client.send(json.dumps({"type": where, "timestamp": 1}))
                    client.recv(HANG_S)  # the greeting
            with suppress(ConnectionClosed):
                while True:
                    neighbour.recv(HANG_S)
        return neighbour.close_code, neighbour.close_reason

    async def main() -> None:
        server = WebSocketServer(ServerSettings(port=0, engine=engine), app)
        await server.start()
        ends.append(threads.submit(talk, server.url))
        await asyncio.wait_for(asyncio.Event().wait(), HANG_S)

    ends: list[Future[tuple[int | None, str | None]]] = []
    with ThreadPoolExecutor() as threads:
        with pytest.raises(type(error)) as raised, asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        assert ends[0].result(HANG_S) == (1001, "Server shutting down")
    assert raised.value is error
    assert seen == ["lifespan closed"]

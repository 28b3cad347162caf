"""What may be registered as a handler or a lifespan, and what runs beside them."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from wscore.errors import ConfigError
from wsserver import App, Context, Hub, PublishResult
from wsserver.sdk.lifespans import LifespanError

HANG_S = 20


class Point(msgspec.Struct):
    x: int


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """An ordinary decorator, as anybody writes it: it hides that the function is async."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@timed
async def decorated(ctx: Context, data: Point) -> None:
    await asyncio.sleep(0)
    ctx.reply("done", data.x)


async def with_dependency(database: str, ctx: Context, data: Point, *, table: str = "t") -> None:
    await asyncio.sleep(0)
    ctx.reply("done", data.x)


class Callable_:  # noqa: N801
    async def __call__(self, ctx: Context, data: Point) -> None:
        await asyncio.sleep(0)
        ctx.reply("done", data.x)


class Methods:
    async def method(self, ctx: Context, data: Point) -> None:
        ctx.reply("done", data.x)

    @classmethod
    async def of_the_class(cls, ctx: Context, data: Point) -> None:
        ctx.reply("done", data.x)

    @staticmethod
    async def static(ctx: Context, data: Point) -> None:
        ctx.reply("done", data.x)


def returns_a_future(ctx: Context, data: Point) -> Awaitable[None]:
    return asyncio.ensure_future(decorated(ctx, data))


def returns_a_value(ctx: Context, data: Point) -> bool:
    return ctx.reply("done", data.x)


WORKING = {
    "decorated": decorated,
    "decorated twice": timed(decorated),
    "partial": functools.partial(with_dependency, "db"),
    "partial by keyword": functools.partial(with_dependency, "db", table="x"),
    "decorated partial": timed(functools.partial(with_dependency, "db")),
    "callable": Callable_(),
    "method": Methods().method,
    "classmethod": Methods.of_the_class,
    "staticmethod": Methods.static,
    "future": returns_a_future,
    "value": returns_a_value,
}


@pytest.mark.parametrize("name", WORKING)
async def test_whatever_can_be_called_is_called_and_awaited_in_order(start_server, open_raw, name):
    app = App()
    app.on("do")(WORKING[name])

    @app.on("wait")
    async def wait(ctx: Context) -> None:
        await asyncio.sleep(0)
        ctx.reply("waited")

    server = await start_server(app)
    client = await open_raw(server.url)
    await client.send("do", {"x": 1})
    await client.send("wait")
    await client.send("do", {"x": 2})
    answers = [await client.receive() for _ in range(3)]
    assert [(answer["type"], answer.get("data")) for answer in answers] == [("done", 1), ("waited", None), ("done", 2)]
    await client.send("do", {"x": "no"}, id="q")
    error = await client.receive()
    assert (error["id"], error["data"]["code"]) == ("q", "INVALID_MESSAGE")
    assert "$.data.x" in error["data"]["message"]
    assert server.metrics.handlers_failed.value == 0


def generator(ctx: Context):
    yield ctx


async def async_generator(ctx: Context, data: Point):
    yield ctx


class GeneratorCall:
    async def __call__(self, ctx: Context):
        yield ctx


def no_wraps(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (generator, "test_registering.generator: has a yield"),
        (async_generator, "test_registering.async_generator: has a yield"),
        (functools.partial(async_generator), "async_generator: has a yield"),
        (GeneratorCall(), "GeneratorCall.__call__: has a yield"),
        (no_wraps(decorated), "let its decorator use functools.wraps"),
        (Methods.__dict__["of_the_class"], "is a classmethod of no class yet"),
        (7, "is no function"),
        (lambda ctx, data, more: None, r"takes \(ctx\)"),
        (lambda ctx, *, needed: None, r"takes \(ctx\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("register", ["on", "on_connect", "on_disconnect"])
def test_what_could_never_answer_is_refused_when_it_is_registered(function, problem, register):
    app = App()
    decorator = app.on("x") if register == "on" else getattr(app, register)
    with pytest.raises(ConfigError, match=problem):
        decorator(function)


@pytest.mark.parametrize("register", ["on_connect", "on_disconnect"])
def test_a_hook_that_takes_data_is_refused(register):
    with pytest.raises(ConfigError, match=r"a hook takes \(ctx\)"):
        getattr(App(), register)(decorated)


@pytest.mark.parametrize("type", ["", "a b", "ä", "x" * 65, "a\n", 7, None])
def test_a_type_that_no_message_can_have_is_refused(type):
    with pytest.raises(ConfigError, match="is no message type; a type is 1 to 64 of"):
        App().on(type)


async def test_a_generator_behind_a_decorator_is_answered_as_the_failure_it_is(start_server, open_raw, caplog):
    app = App()
    app.on("sync")(timed(generator))
    app.on("async")(timed(async_generator))
    server = await start_server(app)
    client = await open_raw(server.url)
    for kind in ("sync", "async"):
        await client.send(kind, {"x": 1}, id=kind)
        error = await client.receive()
        assert (error["id"], error["data"]["code"]) == (kind, "PROCESSING_ERROR")
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == [
        "the handler returned a generator, so nothing of it has run"
    ] * 2


def lifespan(seen: list[str], name: str, *, start: BaseException | None = None, end: BaseException | None = None):
    async def run(hub: Hub):
        if start is not None:
            raise start
        seen.append(f"+{name}")
        yield
        seen.append(f"-{name}")
        if end is not None:
            raise end

    return run


async def test_lifespans_nest_in_the_order_of_registration(start_server):
    app, seen = App(), []
    for name in "abc":
        app.lifespan(lifespan(seen, name))
    server = await start_server(app)
    assert seen == ["+a", "+b", "+c"]
    await server.stop()
    assert seen == ["+a", "+b", "+c", "-c", "-b", "-a"]


@pytest.mark.parametrize("error", [RuntimeError("kaputt"), asyncio.CancelledError("kaputt")])
async def test_when_a_lifespan_fails_to_start_those_before_it_end_in_reverse(start_server, caplog, error):
    app, seen = App(), []
    app.lifespan(lifespan(seen, "a"))
    app.lifespan(lifespan(seen, "b", end=ValueError("broken too")))
    app.lifespan(lifespan(seen, "c", start=error))
    app.lifespan(lifespan(seen, "d"))
    with pytest.raises(ConfigError, match=rf"its lifespan failed: {type(error).__name__}: kaputt \(in .*run\)"):
        await start_server(app)
    assert seen == ["+a", "+b", "-b", "-a"]
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["app.failed"] * 2


async def test_when_a_lifespan_fails_to_end_the_others_end_and_the_failure_is_told(start_server):
    app, seen = App(), []
    app.lifespan(lifespan(seen, "a"))
    app.lifespan(lifespan(seen, "b", end=OSError("disk full")))
    app.lifespan(lifespan(seen, "c"))
    server = await start_server(app)
    with pytest.raises(LifespanError, match="failed at the end: OSError: disk full"):
        await server.stop()
    assert seen == ["+a", "+b", "+c", "-c", "-b", "-a"]


async def test_a_background_task_that_dies_is_logged_with_its_name_and_traceback(start_server, open_raw, caplog):
    app = App()

    async def pump() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("kaputt")

    async def cancelled() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    @app.lifespan
    async def run(hub: Hub):
        hub.spawn(pump())
        yield

    @app.on("spawn")
    async def spawn(ctx: Context) -> None:
        task = ctx.hub.spawn(cancelled(), name="the odd one")
        await asyncio.wait([task])
        ctx.reply("done")

    server = await start_server(app)
    client = await open_raw(server.url)
    await client.send("spawn")
    assert (await client.receive())["type"] == "done"
    failed = [record for record in caplog.records if record.message == "task.failed"]
    assert [record.fields["task"].rpartition(".")[2] for record in failed] == ["pump", "the odd one"]
    assert failed[0].exc_info is not None
    assert "kaputt" in str(failed[0].exc_info[1])
    assert server.metrics.tasks_failed.value == 2


async def test_a_background_task_is_held_and_ends_before_the_lifespans_do(start_server, caplog):
    app, seen = App(), []
    started = asyncio.Event()

    async def work() -> str:
        started.set()
        try:
            await asyncio.get_running_loop().create_future()  # nothing else holds this task
        finally:
            seen.append("task")
        return ""

    @app.lifespan
    async def run(hub: Hub):
        tasks.append(weakref.ref(hub.spawn(work())))
        yield
        seen.append("lifespan")

    tasks: list[weakref.ref[asyncio.Task[str]]] = []
    server = await start_server(app)
    await asyncio.wait_for(started.wait(), HANG_S)
    gc.collect()
    assert tasks[0]() is not None
    await server.stop()
    assert seen == ["task", "lifespan"]
    with pytest.raises(RuntimeError, match="the server has ended"):
        server.hub.spawn(work())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_spawned_tasks_result_and_failure_reach_who_awaits_it(start_server, caplog):
    server = await start_server()

    async def five() -> int:
        return 5

    async def fail() -> None:
        raise ValueError("no")

    assert await server.hub.spawn(five()) == 5
    with pytest.raises(ValueError, match="no"):
        await server.hub.spawn(fail())
    server.hub.spawn(five()).cancel()  # before it began: no warning of a coroutine that was never awaited
    with pytest.raises(TypeError, match="expected a coroutine"):
        server.hub.spawn(five)
    assert server.metrics.tasks_failed.value == 1


async def test_another_thread_sends_through_from_thread(start_server, open_raw, engine, caplog):
    server = await start_server(engine=engine)
    client = await open_raw(server.url, session="room")
    hub, me = server.hub, client.greeting["data"]["connectionId"]
    results: list[object] = []

    def work() -> None:
        results.append(hub.from_thread(hub.send, me, "one", 1).result(HANG_S))
        results.append(hub.from_thread(hub.publish, "two", 2, session="room", lossy=True).result(HANG_S))
        results.append(hub.from_thread(hub.send, "nobody", "three").result(HANG_S))
        results.append(type(hub.from_thread(hub.send, me, "four", object()).exception(HANG_S)))

    await asyncio.to_thread(work)
    assert results == [True, PublishResult(), False, TypeError]
    assert [(await client.receive())["data"] for _ in range(2)] == [1, 2]
    assert [record.fields["task"] for record in caplog.records if record.message == "task.failed"] == ["Hub.send"]
    with pytest.raises(RuntimeError, match="on the event loop call it directly"):
        hub.from_thread(hub.send, me, "one")


def test_from_thread_after_the_loop_has_closed_is_a_clear_error(start_server):
    async def main() -> Hub:
        from wsserver import ServerSettings, WebSocketServer

        server = WebSocketServer(ServerSettings(port=0))
        await server.start()
        await server.stop()
        return server.hub

    hub = asyncio.run(main())
    raised: list[BaseException] = []

    def work() -> None:
        try:
            hub.from_thread(hub.send, "x", "y")
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(HANG_S)
    assert "loop is closed" in str(raised[0])

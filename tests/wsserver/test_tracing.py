"""Spans of handlers and the traceparent of messages, over real sockets, with the exporter of the SDK itself."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from wscore.errors import ConfigError
from wsserver import App, AppError, Context, ErrorCode, Hub, fan_out

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
MALFORMED = (
    *("", "x", TRACEPARENT.upper(), TRACEPARENT + "-00", f"ff{TRACEPARENT[2:]}", f"00-{'0' * 32}-{SPAN}-01"),
    *(f"00-{TRACE}-{'0' * 16}-01", f" {TRACEPARENT}", 5, True, [TRACEPARENT], {"a": TRACEPARENT}, None),
)


@pytest.fixture
def spans():
    """The spans that have ended, and a provider for them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    exporter.provider = provider
    return exporter


async def test_a_fanned_out_message_carries_the_traceparent_as_it_came(start_server, open_raw, engine):
    app = App()
    app.on("message")(fan_out)
    server = await start_server(app, engine=engine)
    sender, receiver = [await open_raw(server.url, session="a") for _ in range(2)]
    await sender.send("message", 1, traceparent=TRACEPARENT)
    assert (await receiver.receive_type("message"))["traceparent"] == TRACEPARENT
    for malformed in MALFORMED:
        await sender.send("message", 2, traceparent=malformed)
        received = await receiver.receive_type("message")
        assert received["data"] == 2
        assert "traceparent" not in received, malformed


async def test_each_call_is_a_trace_of_its_own_with_a_link_to_the_sender(start_server, open_raw, engine, spans):
    app = App()
    app.trace(spans.provider)
    inside = []

    @app.on("plain")
    def plain(ctx: Context) -> None:
        inside.append((ctx.traceparent, trace.get_current_span().get_span_context().span_id))
        ctx.reply("done")

    @app.on("slow")
    async def slow(ctx: Context, data: int) -> None:
        await asyncio.sleep(0)
        inside.append((ctx.traceparent, trace.get_current_span().get_span_context().span_id))
        ctx.reply("done", data)

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    for kind in ("plain", "slow"):
        for traceparent in (TRACEPARENT, None, "nonsense"):
            await client.send(kind, 7, traceparent=traceparent)
            await client.receive_type("done")
    async with asyncio.timeout(20):
        while len(spans.get_finished_spans()) < 6:
            await asyncio.sleep(0.01)
    ended = spans.get_finished_spans()
    assert [span.name for span in ended] == ["process plain"] * 3 + ["process slow"] * 3
    assert {(span.kind, span.parent, span.status.status_code) for span in ended} == {
        (SpanKind.CONSUMER, None, StatusCode.UNSET)
    }
    assert len({span.context.trace_id for span in ended}) == 6
    linked = [[(link.context.trace_id, link.context.span_id) for link in span.links] for span in ended]
    assert linked == [[(int(TRACE, 16), int(SPAN, 16))], [], []] * 2
    assert inside == [
        (traceparent, span.context.span_id)
        for traceparent, span in zip((TRACEPARENT, None, None) * 2, ended, strict=True)
    ]


async def test_what_a_handler_sends_itself_names_the_span_that_it_is_sent_in(start_server, open_raw, engine, spans):
    app = App()
    app.trace(spans.provider)
    tracer = spans.provider.get_tracer("own")

    async def later(hub: Hub) -> None:
        await asyncio.sleep(0)
        hub.publish("later", session="s")

    @app.on("act")
    async def act(ctx: Context) -> None:
        ctx.publish("published", 1)
        await asyncio.sleep(0)
        await ctx.hub.published("stored", session="s")
        ctx.send(ctx.connection_id, "sent")
        ctx.reply("replied")
        ctx.error(ErrorCode.FORBIDDEN, "no")
        with tracer.start_as_current_span("inner"):
            ctx.publish("inside")
        ctx.hub.spawn(later(ctx.hub))

    @app.on("now")
    def now(ctx: Context) -> None:
        ctx.publish("at.once")

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url, session="s")
    assert "traceparent" not in client.greeting
    await client.send("act", traceparent=TRACEPARENT)
    got = {}
    for type in ("published", "stored", "sent", "replied", "error", "inside", "later"):
        got[type] = (await client.receive_type(type)).get("traceparent")
    await client.send("now")
    got["at.once"] = (await client.receive_type("at.once")).get("traceparent")
    server.hub.publish("outside", session="s")
    assert "traceparent" not in await client.receive_type("outside")
    async with asyncio.timeout(20):
        while len(spans.get_finished_spans()) < 3:
            await asyncio.sleep(0.01)
    named = {
        span.name: f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"
        for span in spans.get_finished_spans()
    }
    act_span = named["process act"]
    assert got == {
        **dict.fromkeys(("published", "stored", "sent", "replied", "later"), act_span),
        **{"error": None, "inside": named["inner"], "at.once": named["process now"]},
    }
    assert TRACE not in act_span


async def test_what_a_handler_sends_names_no_span_where_nobody_asked_for_spans(start_server, open_raw, spans):
    app = App()

    @app.on("act")
    def act(ctx: Context) -> None:
        with spans.provider.get_tracer("own").start_as_current_span("inner"):
            ctx.publish("published", 1)

    server = await start_server(app)
    client = await open_raw(server.url)
    await client.send("act", traceparent=TRACEPARENT)
    assert "traceparent" not in await client.receive_type("published")


async def test_a_failure_is_told_by_its_type_alone_and_an_app_error_is_none(start_server, open_raw, spans):
    app = App()
    app.trace(spans.provider)

    @app.on("fail")
    async def fail(ctx: Context) -> None:
        raise ValueError("what a client sent")

    @app.on("refuse")
    def refuse(ctx: Context) -> None:
        raise AppError(ErrorCode.FORBIDDEN, "no")

    @app.on("hidden")
    def hidden(ctx: Context) -> object:
        return asyncio.sleep(0)  # awaitable, which its signature does not say

    server = await start_server(app)
    client = await open_raw(server.url)
    for kind in ("fail", "refuse"):
        await client.send(kind)
        await client.receive_type("error")
    await client.send("hidden")
    async with asyncio.timeout(20):
        while len(spans.get_finished_spans()) < 3:
            await asyncio.sleep(0.01)
    told = {span.name: (span.status.status_code, span.status.description) for span in spans.get_finished_spans()}
    assert told == {
        "process fail": (StatusCode.ERROR, "ValueError"),
        "process refuse": (StatusCode.UNSET, None),
        "process hidden": (StatusCode.UNSET, None),
    }
    assert not [span for span in spans.get_finished_spans() if span.events]


async def test_a_cancelled_handler_ends_its_span(start_server, open_raw, spans):
    app = App()
    app.trace(spans.provider)
    started = asyncio.Event()

    @app.on("wait")
    async def wait(ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    server = await start_server(app)
    client = await open_raw(server.url)
    await client.send("wait")
    await started.wait()
    await client.ws.close()
    async with asyncio.timeout(20):
        while not spans.get_finished_spans():
            await asyncio.sleep(0.01)
    assert spans.get_finished_spans()[0].status.description == "CancelledError"


def test_nothing_of_it_is_imported_unless_an_app_asks_for_it():
    program = "import sys; from wsserver import App, WebSocketServer; App(); print('opentelemetry' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "wsserver.sdk.tracing", raising=False)
    with pytest.raises(ConfigError, match=r"opentelemetry is not installed.*\[otel\]"):
        App().trace()

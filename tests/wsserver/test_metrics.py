"""What a server counts, over real sockets: right for each label, and no client makes labels."""

from __future__ import annotations

import asyncio
import os
import re
from itertools import groupby
from pathlib import Path

import pytest

from wscore.disconnects import DISCONNECTS
from wscore.messages import MESSAGES
from wsserver import (
    App,
    Context,
    EventLog,
    HeartbeatPolicy,
    Metrics,
    Profile,
    Rate,
    RatePolicy,
    ServerSettings,
    WebSocketServer,
    fan_out,
)
from wsserver.brokers.redistarget import read_target
from wsserver.telemetry.counters import OTHER, Histogram, Labelled
from wsserver.telemetry.logwriter import LogWriter
from wsserver.telemetry.metrics import RULES, SENT_TYPES, Drop, PendingDrop

HANG_S = 20
MANY = 10_000
DOCS = Path(__file__).parents[2] / "docs"


def changed(server: WebSocketServer, name: str) -> dict[tuple[str, ...], float]:
    """Return what is not 0 of a metric, by the values of its labels."""
    samples = [sample for sample in server.metrics.collect() if sample.name == name and sample.value]
    return {tuple(sample.labels.values()): sample.value for sample in samples}


async def settled(server: WebSocketServer) -> None:
    async with asyncio.timeout(HANG_S):
        while len(server.connections):
            await asyncio.sleep(0.01)


async def test_messages_are_counted_by_direction_and_type(start_server, open_raw, engine):
    app = App()
    app.on("message")(fan_out)

    @app.on("ask")
    async def ask(ctx: Context) -> None:
        ctx.reply("answer")
        ctx.publish("news")

    server = await start_server(app, engine=engine)
    one, two = await open_raw(server.url, session="room"), await open_raw(server.url, session="room")
    for kind in ("ping", "ping", "pong", "message", "ask", "audio_end", "nonsense", "madeup"):
        await one.send(kind, {"timestamp": 1})
    await one.ws.send("no envelope")
    for kind in ("message", "news"):
        assert (await two.receive_type(kind))["type"] == kind
    async with asyncio.timeout(HANG_S):
        while (
            server.metrics.errors["INVALID_MESSAGE"].value < 3
        ):  # for two types that nobody knows, and for no envelope
            await asyncio.sleep(0.01)
    assert changed(server, "wsctl_messages_total") == {
        ("in", "ping"): 2,
        ("in", "pong"): 1,
        ("in", "message"): 1,
        ("in", "ask"): 1,
        ("in", "audio_end"): 1,
        ("in", OTHER): 3,
        ("out", "session_created"): 2,
        ("out", "pong"): 2,
        ("out", "message"): 1,
        ("out", "answer"): 1,
        ("out", "news"): 1,
        ("out", "error"): 3,
    }
    assert changed(server, "wsctl_deliveries_total") == {(): 4}
    assert changed(server, "wsctl_errors_total") == {("INVALID_MESSAGE",): 3}
    assert changed(server, "wsctl_messages_dropped_total") == {("no-handler",): 3}


async def test_the_servers_own_pings_are_counted_once_for_each_client(start_server, open_raw):
    server = await start_server(heartbeat=HeartbeatPolicy(interval_ms=50, timeout_ms=20_000))
    clients = [await open_raw(server.url) for _ in range(3)]
    for client in clients:
        await client.receive_type("ping")
    assert server.metrics.sent["ping"].value >= len(clients)


async def test_a_client_that_sends_ten_thousand_types_makes_one_label(start_server, open_raw, engine):
    server = await start_server(engine=engine, profile=Profile.PROD)
    client = await open_raw(server.url)
    for number in range(MANY):
        await client.ws.send(f'{{"type":"made.up.{number}","timestamp":1}}')
    await client.send("ping")
    await client.receive_type("pong")
    assert changed(server, "wsctl_messages_total") == {
        ("in", OTHER): MANY,
        ("in", "ping"): 1,
        ("out", "session_created"): 1,
        ("out", "pong"): 1,
    }
    assert set(server.metrics.received) == {*MESSAGES, OTHER}


async def test_an_app_that_sends_types_made_of_what_clients_send_makes_a_bounded_number(start_server, open_raw):
    app = App()

    @app.on("name")
    def name(ctx: Context, number: int) -> None:
        ctx.send(ctx.connection_id, f"sent.{number}")
        ctx.publish(f"published.{number}")

    server = await start_server(app)
    client = await open_raw(server.url)
    for number in range(SENT_TYPES):
        await client.send("name", number)
        for kind in ("sent", "published"):
            assert (await client.receive())["type"] == f"{kind}.{number}"
    assert len(server.metrics.sent) == len(MESSAGES) + SENT_TYPES + 1
    assert changed(server, "wsctl_messages_total")["out", OTHER] == SENT_TYPES
    assert server.metrics.value("wsctl_messages_total", direction="out") == 2 * SENT_TYPES + 1


async def test_ends_are_counted_by_the_name_of_the_reason_and_the_close_code(start_server, open_raw, engine):
    server = await start_server(engine=engine, max_message_bytes=1024)

    async def end(*, code: int | None = None, by_app: int | None = None, sends: str | bytes | None = None) -> None:
        client = await open_raw(server.url)
        if by_app is not None:
            server.hub.close(client.greeting["data"]["connectionId"], by_app)
        if sends is not None:
            await client.ws.send(sends)
        if code is None:
            await client.close_code()
        else:
            await client.ws.close(code)
        await settled(server)

    for code in (1000, 1001, 3000, 4321, 4999):
        await end(code=code)
    for code in (4004, 1000, 4567):
        await end(by_app=code)
    await end(sends=b"binary")
    await end(sends="x" * 2000)
    assert changed(server, "wsctl_connections_closed_total") == {
        ("peer", "1000"): 1,
        ("peer", "1001"): 1,
        ("peer", OTHER): 3,
        ("kicked", "4004"): 1,
        ("closed-by-app", "1000"): 1,
        ("closed-by-app", OTHER): 1,
        ("binary-message", "1003"): 1,
        ("message-too-big", "1009"): 1,
    }
    assert server.metrics.value("wsctl_connections_opened_total") == 10
    assert server.metrics.value("wsctl_connections") == 0


async def test_refused_connections_are_counted_by_reason_and_refused_tokens_by_rule(
    start_server, open_raw, engine, guest_token
):
    server = await start_server(engine=engine)
    for token, options in (
        (None, {}),
        ("guest_x", {}),
        ("not.a.jwt", {}),
        ("not.a.jwt", {}),
        ("", {"origin": "https://evil.example"}),
    ):
        await (await open_raw(server.url, token=token, greet=False, **options)).close_code()
    client = await open_raw(server.url)
    await client.send("auth_refresh", {"token": "guest_x"})
    assert (await client.receive())["data"]["code"] == "AUTH_INVALID"
    assert changed(server, "wsctl_connections_refused_total") == {
        ("token-missing",): 1,
        ("token-refused",): 3,
        ("origin-refused",): 1,
    }
    assert changed(server, "wsctl_auth_failures_total") == {
        ("token-missing",): 1,
        ("jwt-off",): 2,
        ("guest-format",): 2,
    }
    assert changed(server, "wsctl_errors_total") == {("AUTH_REQUIRED",): 1, ("AUTH_INVALID",): 4, ("FORBIDDEN",): 1}
    assert server.metrics.sent["error"].value == 6
    assert server.metrics.value("wsctl_connections_opened_total") == 1


async def test_what_is_over_the_rate_is_dropped_with_a_count_and_no_message(start_server, open_raw, engine):
    server = await start_server(engine=engine, rates=RatePolicy(messages=Rate(0.001, 2), octets=None))
    client = await open_raw(server.url)
    for _ in range(4):
        await client.send("ping", id="r")
    received = [(await client.receive())["type"] for _ in range(4)]
    assert received == ["pong", "pong", "error", "error"]
    assert changed(server, "wsctl_messages_dropped_total") == {("rate-limit",): 2}
    assert server.metrics.value("wsctl_messages_total", direction="in") == 2
    assert changed(server, "wsctl_errors_total") == {("RATE_LIMITED",): 2}


async def test_failed_and_cancelled_handlers_and_abandoned_messages_are_counted(start_server, open_raw, engine):
    app = App()
    started = asyncio.Event()

    @app.on("fail")
    def fail(ctx: Context) -> None:
        raise ValueError

    @app.on("wait")
    async def wait(ctx: Context) -> None:
        started.set()
        await asyncio.Event().wait()

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    await client.send("fail")
    await client.receive_type("error")
    for _ in range(3):
        await client.send("wait")
    await started.wait()
    await client.send("ping")
    await client.receive_type("pong")
    await client.ws.close()
    await settled(server)
    async with asyncio.timeout(HANG_S):
        while not server.metrics.handlers_cancelled.value:
            await asyncio.sleep(0.01)
    assert server.metrics.value("wsctl_handlers_failed_total") == 1
    assert server.metrics.value("wsctl_handlers_cancelled_total") == 1
    assert changed(server, "wsctl_messages_dropped_total") == {("client-gone",): 2}


async def test_lines_that_the_log_drops_show_at_the_next_scrape():
    readable, writable = os.pipe()
    writer = LogWriter(writable)
    log = EventLog(dropped_lines=lambda: writer.dropped)
    server = WebSocketServer(ServerSettings(port=0), log=log)
    assert server.metrics.value("wsctl_log_lines_dropped_total") == 0
    os.close(readable)
    writer.write("lost\n" * 7)
    assert await asyncio.to_thread(writer.settle, HANG_S)
    assert server.metrics.value("wsctl_log_lines_dropped_total") == 7
    os.close(writable)


async def test_every_family_has_a_bounded_number_of_labels_whatever_comes():
    metrics = Metrics()
    families = {name: entry for name, entry in vars(metrics).items() if isinstance(entry, Labelled)}
    known = {name: len(entry) for name, entry in families.items()}
    for family in families.values():
        for number in range(MANY):
            counter = family[f"x{number}"] if family is not metrics.closed else family["peer", str(number)]
            if isinstance(counter, Histogram):
                counter.observe(number)
            else:
                counter.value += 1
    room = {"sent": SENT_TYPES, "auth_failures": RULES}
    assert {name: len(entry) - known[name] for name, entry in families.items()} == {
        name: room.get(name, 0) + 1 for name in families
    }
    for name, item in families.items():
        counts = [sum(part.counts) if isinstance(part, Histogram) else part.value for part in item.values()]
        assert sum(counts) == MANY, name


async def test_samples_are_what_a_collector_for_prometheus_needs():
    samples = list(WebSocketServer(ServerSettings(port=0)).metrics.collect())
    families = [(name, list(group)) for name, group in groupby(samples, lambda sample: sample.family)]
    assert len({name for name, _ in families}) == len(families), "samples of one name stand together"
    for name, group in families:
        assert re.fullmatch(r"wsctl_[a-z_]+", name)
        assert len({(sample.help, sample.kind, tuple(set(sample.labels) - {"le"})) for sample in group}) == 1
        assert group[0].help
        assert (group[0].kind == "counter") == name.endswith("_total")
        assert len({(sample.name, *sample.labels.values()) for sample in group}) == len(group)
        for value in (value for sample in group for value in sample.labels.values()):
            assert type(value) is str
            assert value
    reasons = {sample.labels["disconnect"] for sample in samples if "disconnect" in sample.labels}
    assert reasons == {*DISCONNECTS, "peer"}


def test_an_unknown_name_is_no_zero():
    with pytest.raises(LookupError, match="wsctl_mesages_total"):
        Metrics().value("wsctl_mesages_total")


async def test_the_table_in_the_docs_has_every_metric_with_its_labels_and_reasons():
    _, _, text = (DOCS / "apps.md").read_text("utf-8").partition("\n## In your own process\n")
    rows = [row.split("|") for row in text.splitlines() if row.startswith("| `")]
    written = {name: re.findall(r"`(\w+)`", row[2]) for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    metrics = WebSocketServer(ServerSettings(port=0, broker=read_target("redis://127.0.0.1"))).metrics
    metrics.auth_failures["a rule"].value += 1  # else it has none yet
    metrics.handler_time.know("a type")
    assert written == {
        **{sample.family: [label for label in sample.labels if label != "le"] for sample in metrics.collect()},
        "wsctl_worker_up": ["worker"],
    }
    assert all(f"`{reason}`" in text for reason in (*Drop, *PendingDrop))
    assert f"first {SENT_TYPES} others" in text

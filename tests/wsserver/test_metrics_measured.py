"""What a server measures: bytes, times and what waits, over real sockets and a real Redis."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from wscore.exposition import TEXT
from wsserver import App, Context, ServerSettings, WebSocketServer, fan_out
from wsserver.brokers.redistarget import read_target
from wsserver.lifetime.calls import TIMED
from wsserver.operations.families import exposition, families_of
from wsserver.outbound.backlog import OutboundLimits
from wsserver.telemetry.counters import BOUNDS_S, Histogram
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics
from wsserver.telemetry.stalls import StallWatch

HANG_S = 20


async def until(check):
    async with asyncio.timeout(HANG_S):
        while not check():
            await asyncio.sleep(0.01)


def test_a_time_counts_in_the_bucket_whose_bound_it_does_not_pass():
    histogram = Histogram()
    for seconds in (0.0, BOUNDS_S[0], BOUNDS_S[0] * 1.01, BOUNDS_S[-1], 3600.0):
        histogram.observe(seconds)
    counts = dict(histogram.buckets())
    assert list(counts) == [*map(str, BOUNDS_S), "+Inf"]
    assert (counts[str(BOUNDS_S[0])], counts[str(BOUNDS_S[1])]) == (2, 3)
    assert (counts[str(BOUNDS_S[-1])], counts["+Inf"]) == (4, 5)
    assert histogram.total_s == pytest.approx(3610.0, abs=0.1)


async def test_bytes_are_counted_by_direction_and_type_as_they_came_and_went(start_server, open_raw, engine):
    app = App()
    app.on("message")(fan_out)
    server = await start_server(app, engine=engine)
    sender = await open_raw(server.url, session="a")
    others = [await open_raw(server.url, session="a") for _ in range(2)]

    def octets(direction, kind):
        return server.metrics.value("wsctl_message_bytes_total", direction=direction, type=kind)

    message = '{"type":"message","timestamp":1,"data":"grüße"}'
    for text in ('{"type":"ping","timestamp":1}', message, '{"type":"made.up","timestamp":1}', "{"):
        await sender.ws.send(text)
    answers = {}
    while "error" not in answers or "pong" not in answers:
        answer = await sender.ws.recv(decode=False)
        kind = next(kind for kind in ("pong", "message", "error") if b'"type":"%b"' % kind.encode() in answer)
        answers[kind] = answers.get(kind, 0) + len(answer)
    (_, fanned) = [await other.ws.recv(decode=False) for other in others]
    await until(lambda: server.metrics.value("wsctl_errors_total") == 2)
    answers["error"] += len(await sender.ws.recv(decode=False))
    assert octets("in", "ping") == len('{"type":"ping","timestamp":1}')
    assert octets("in", "message") == len(message.encode())
    assert octets("in", "other") == len('{"type":"made.up","timestamp":1}') + 1
    assert (octets("out", "pong"), octets("out", "error")) == (answers["pong"], answers["error"])
    published = octets("out", "message")
    assert 0 < published <= len(fanned)  # without its seq
    assert server.metrics.value("wsctl_delivery_bytes_total") == 3 * (len(fanned) + 2 + 2 * (len(fanned) > 125))
    assert server.metrics.value("wsctl_delivery_seconds_count") >= 1
    assert 0 < server.metrics.value("wsctl_delivery_seconds_sum") < HANG_S


async def test_handlers_are_timed_each_async_call_and_one_in_some_of_plain_ones(start_server, open_raw, engine):
    app = App()
    go_on = asyncio.Event()

    @app.on("plain")
    def plain(ctx: Context) -> None:
        ctx.reply("done")

    @app.on("wait")
    async def wait(ctx: Context) -> None:
        await go_on.wait()
        ctx.reply("done")

    @app.on("fail")
    async def fail(ctx: Context) -> None:
        raise ValueError

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)

    def count(kind):
        return server.metrics.value("wsctl_handler_seconds_count", type=kind)

    for _ in range(2 * TIMED + 1):
        await client.send("plain")
        await client.receive_type("done")
    assert count("plain") == 3
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    await client.send("wait")
    await until(lambda: server.metrics.value("wsctl_messages_total", type="wait") == 1)
    waited_since_s = loop.time()
    await asyncio.sleep(0.05)
    waited_s = loop.time() - waited_since_s
    go_on.set()
    await client.receive_type("done")
    await client.send("fail")
    await client.receive_type("error")
    assert (count("wait"), count("fail")) == (1, 1)
    took_s = server.metrics.value("wsctl_handler_seconds_sum", type="wait")
    assert waited_s * 0.9 <= took_s <= loop.time() - started_s


def test_the_lag_of_the_loop_is_how_late_its_tick_came():
    metrics = Metrics()
    watch = StallWatch(EventLog(), metrics, lambda: 100.0)
    watch.start(100.25)
    for now_s, due_s in ((100.27, 100.5), (100.49, 100.75), (101.5, 102.0)):
        watch.tick(now_s, due_s)
    watch.stop()
    assert metrics.value("wsctl_loop_lag_seconds_sum") == pytest.approx(0.02 + 0.75)
    assert metrics.value("wsctl_loop_lag_seconds_bucket", le="0.0001") == 1
    assert metrics.value("wsctl_loop_lag_seconds_bucket", le="0.025") == 2
    assert metrics.value("wsctl_loop_lag_seconds_count") == 3


async def test_a_running_server_tells_the_lag_of_its_loop(start_server):
    server = await start_server()
    await until(lambda: server.metrics.value("wsctl_loop_lag_seconds_count"))


async def test_groups_are_counted_by_kind(start_server, open_raw, engine, jwt_key, user_token):
    server = await start_server(engine=engine, jwt_key=jwt_key)

    def groups():
        samples = [sample for sample in server.metrics.collect() if sample.name == "wsctl_groups"]
        return {sample.labels["kind"]: sample.value for sample in samples}

    first = await open_raw(server.url, session="a", token=user_token("alice"))
    await open_raw(server.url, session="a", token=user_token("bob"))
    await open_raw(server.url, session="b", token=user_token("bob"))
    await first.send("room.join", {"room": "hall"})
    await first.receive_type("room.joined")
    assert (groups()["session"], groups()["room"]) == (2, 1)
    server.hub.publish("news", user="bob")  # the group of a user is made for the first who asks for it
    assert groups()["user"] >= 1
    await first.ws.close()
    await until(lambda: groups()["room"] == 0)
    assert groups()["session"] == 2


async def test_who_does_not_read_is_a_slow_reader_until_it_has_read(start_server, open_raw, engine):
    server = await start_server(engine=engine, outbound=OutboundLimits(64 << 20, 60))
    client = await open_raw(server.url, session="a", max_queue=1, max_size=None)
    client.ws.transport.pause_reading()
    assert server.metrics.value("wsctl_slow_readers") == 0
    message = "x" * (1 << 20)
    for _ in range(8):
        server.hub.publish("big", message, session="a")
        await asyncio.sleep(0)
    await until(lambda: server.metrics.value("wsctl_slow_readers") == 1)
    client.ws.transport.resume_reading()
    for _ in range(8):
        await client.receive_type("big")
    await until(lambda: server.metrics.value("wsctl_slow_readers") == 0)


async def test_the_broker_is_measured_and_its_loss_is_seen(start_server, redis):
    server = await start_server(broker=read_target(redis.url), broker_prefix="t:")
    value = server.metrics.value
    assert value("wsctl_broker_up") == 1
    for number in range(3):
        await server.hub.published("news", number, room="hall")
    assert value("wsctl_publish_seconds_count") == 3
    assert 0 <= value("wsctl_publish_seconds_sum") < HANG_S
    assert value("wsctl_broker_roundtrip_seconds_count") >= 3
    assert value("wsctl_broker_waiting_bytes") == 0
    redis.signal(signal.SIGSTOP)
    server.hub.publish("news", 4, room="hall")
    await until(lambda: value("wsctl_broker_waiting_bytes") > 0)
    redis.signal(signal.SIGCONT)
    await until(lambda: value("wsctl_broker_waiting_bytes") == 0)
    assert value("wsctl_publish_seconds_count") == 4
    assert value("wsctl_broker_losses_total") == 0
    redis.kill()
    await until(lambda: value("wsctl_broker_up") == 0)
    assert value("wsctl_broker_losses_total") >= 1


async def test_what_is_sent_to_a_connection_of_another_process_counts_where_it_is_sent(start_server, open_raw, redis):
    target = read_target(redis.url)
    here, there = [await start_server(broker=target, broker_prefix="t:") for _ in range(2)]
    client = await open_raw(there.url)
    assert here.hub.send(client.greeting["data"]["connectionId"], "news", "hello")
    await client.receive_type("news")
    assert here.metrics.value("wsctl_messages_total", direction="out", type="news") == 1
    assert here.metrics.value("wsctl_message_bytes_total", direction="out", type="news") > len("hello")


async def test_without_a_shared_broker_it_is_always_up_and_nothing_waits():
    metrics = WebSocketServer(ServerSettings(port=0)).metrics
    assert (metrics.value("wsctl_broker_up"), metrics.value("wsctl_broker_waiting_bytes")) == (1, 0)


async def scraped(**workers: WebSocketServer) -> str:
    families = {
        (number := name.strip("_")): [*families_of(server.metrics.collect(), int(number) if number else None)]
        for name, server in workers.items()
    }
    return exposition(families, ["worker 7"] if len(workers) > 1 else [], TEXT).decode()


async def test_a_scrape_has_histograms_as_prometheus_reads_them(start_server):
    server = await start_server()
    server.hub.publish("news", room="hall")
    await until(lambda: server.metrics.value("wsctl_loop_lag_seconds_count"))
    text = await scraped(_0=server, _1=WebSocketServer(ServerSettings(port=0)))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    lag = families["wsctl_loop_lag_seconds"]
    assert lag.type == "histogram"
    assert {sample.labels["worker"] for sample in lag.samples} == {"0", "1"}
    for worker in "01":
        own = [sample for sample in lag.samples if sample.labels["worker"] == worker]
        buckets = [sample.value for sample in own if sample.name.endswith("_bucket")]
        (count,) = (sample.value for sample in own if sample.name.endswith("_count"))
        assert buckets == sorted(buckets)
        assert (len(buckets), buckets[-1]) == (len(BOUNDS_S) + 1, count)
    up = {sample.labels["worker"]: sample.value for sample in families["wsctl_worker_up"].samples}
    assert up == {"0": 1, "1": 1, "7": 0}


async def test_the_linter_of_prometheus_has_nothing_to_say(start_server, open_raw):
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    app = App()
    app.on("message")(fan_out)
    server = await start_server(app)
    await (await open_raw(server.url, token="guest_x", greet=False)).close_code()
    text = await scraped(_0=server, _1=server)
    assert "wsctl_auth_failures_total{" in text
    assert 'wsctl_handler_seconds_bucket{worker="0",type="message",le="0.0001"}' in text
    lint = await asyncio.to_thread(
        subprocess.run, [program, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")

"""`wsclient.Publisher` and `AsyncPublisher`: a real operations port, and servers that fail in between."""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.cli.conftest import HANG_S
from tests.cli.operators import Member
from wsclient import (
    AsyncPublisher,
    ConfigError,
    OperationRefusedError,
    OperationsError,
    OperationsKeyError,
    OperationsUnreachableError,
    Publisher,
)
from wsclient.publishing import calls, tries

KEY = "0123456789abcdef-operator"
READ_KEY = "0123456789abcdef-reader"


@pytest.fixture
def ops(start_wsctl):
    """Start a server with an operations port; returns where that is, and what makes members."""
    stack = ExitStack()

    def start(*options, **variables):
        process = start_wsctl("serve", "--port", "0", "--ops-port", "0", *options, **variables)
        for line in process.stderr:
            if line.startswith("wsctl serves "):
                url = line.split()[2]
            if line.startswith("  ops:"):
                return line.split()[1], partial(Member, stack, url)
        raise AssertionError(f"it ended: {process.wait()}")

    with stack:
        yield start


def test_it_publishes_looks_and_steers(ops):
    url, member = ops()
    ann, bob = member("s", "lobby"), member("t")
    with Publisher(url) as publisher:
        place = publisher.publish("news", {"n": 1}, room="lobby", user_id="backend")
        got = ann.receive("news")
        assert (got["data"], got["userId"], got["seq"], place.seq) == ({"n": 1}, "backend", 1, 1)
        assert publisher.publish("bare", session="s").seq == 1
        assert "data" not in ann.receive("bare")
        assert publisher.publish("null", None, user=ann.user).seq is None
        assert ann.receive("null")["data"] is None
        rows = publisher.broadcast("all", [1], sessions=["s", "t"], rooms=["empty"]).results
        assert [(row.session, row.room, row.seq) for row in rows] == [
            ("s", None, 2),
            ("t", None, 1),
            (None, "empty", 1),
        ]
        assert publisher.send(bob.id, "own", "x").sent == 1
        assert bob.receive("own")["data"] == "x"
        assert publisher.send("nobody", "own").sent == 0
        done = publisher.batch(
            [
                {"act": "publish", "type": "both", "data": {"n": 2}, "room": "lobby"},
                {"act": "publish", "type": "ping", "session": "s"},
                {"act": "send", "type": "last", "connection": bob.id},
            ]
        ).results
        assert done[0].publish is not None
        assert done[0].publish.seq == 2
        assert done[1].error is not None
        assert (done[1].error.code, done[1].publish) == ("INVALID_REQUEST", None)
        assert done[2].send is not None
        assert (done[2].send.sent, ann.receive("both")["data"]) == (1, {"n": 2})
        bob.receive("last")
        assert [(row.name, row.connections) for row in publisher.sessions().sessions] == [("s", 1), ("t", 1)]
        assert [row.name for row in publisher.rooms(prefix="lob", order="size").rooms] == ["lobby"]
        assert publisher.presence("lobby").users == [ann.user]
        page = publisher.connections(limit=1)
        assert ([row.id for row in page.connections], page.total) == ([ann.id], 2)
        rest = publisher.connections(limit=1, cursor=page.next)
        assert ([row.id for row in rest.connections], rest.next) == ([bob.id], None)
        assert [message["type"] for message in publisher.history(session="s")] == ["bare", "all"]
        assert publisher.remove_history(session="s").removed
        assert publisher.history(session="s") == []
        assert "wsctl_connections" in publisher.metrics()
        assert publisher.disconnect(user=bob.user, reason="enough").disconnected == 1
        with pytest.raises(Exception, match=r"4004 .*enough"):
            bob.receive("never")
        assert publisher.revoke(user_id=ann.user).expires_at_ms > 0
        with pytest.raises(Exception, match="4001"):
            ann.receive("never")


async def test_the_asynchronous_one_does_the_same(ops):
    url, member = ops()
    ann = member("s", "lobby")
    async with AsyncPublisher(url) as publisher:
        assert (await publisher.publish("news", {"n": 1}, room="lobby")).seq == 1
        assert ann.receive("news")["data"] == {"n": 1}
        assert (await publisher.presence("lobby")).users == [ann.user]
        acts = [{"act": "disconnect", "user": "nobody"}, {"act": "broadcast", "type": "x", "rooms": ["lobby"]}]
        ended, told = (await publisher.batch(acts, idempotency_key="b-1")).results
        assert ended.disconnect is not None
        assert told.broadcast is not None
        assert (ended.disconnect.disconnected, told.broadcast.results[0].seq) == (0, 2)
        again = await publisher.batch(acts, idempotency_key="b-1")
        assert again.results == [ended, told]
        with pytest.raises(OperationRefusedError) as refused:
            await publisher.publish("x", room="a b")
        assert (refused.value.code, refused.value.place) == ("INVALID_REQUEST", "$.room")


def test_both_have_the_same_methods_with_the_same_signatures():
    own = {name for name, value in vars(calls).items() if getattr(value, "__module__", "") == calls.__name__}
    names = {name for name in own if name.islower() and not name.startswith("_")}
    assert len(names) == 13
    for name in names:
        signature = inspect.signature(getattr(Publisher, name))
        assert signature == inspect.signature(getattr(AsyncPublisher, name))
        assert list(signature.parameters) == ["self", *inspect.signature(getattr(calls, name)).parameters]
        assert "ApiCall" not in str(signature)


@pytest.mark.parametrize(
    ("ask", "code", "place"),
    [
        (lambda publisher: publisher.publish("x"), "INVALID_REQUEST", "$"),
        (lambda publisher: publisher.publish("ping", room="a"), "INVALID_REQUEST", "$.type"),
        (lambda publisher: publisher.connections(limit=0), "INVALID_REQUEST", "$.limit"),
        (lambda publisher: publisher.history(), "INVALID_REQUEST", "$"),
        (lambda publisher: publisher.broadcast("x"), "INVALID_REQUEST", "$"),
    ],
)
def test_a_refusal_has_the_code_and_the_place_of_the_server(shared_port, ask, code, place):
    with Publisher(shared_port) as publisher, pytest.raises(OperationRefusedError) as refused:
        ask(publisher)
    assert (refused.value.code, refused.value.place, refused.value.status) == (code, place, 400)
    assert not refused.value.is_unknown


@pytest.fixture(scope="module")
def shared_port(tmp_path_factory) -> Iterator[str]:
    from tests.cli.conftest import serving_in

    with serving_in(tmp_path_factory.mktemp("ops")) as start:
        server = start("--ops-port", "0")
        yield next(json.loads(line)["url"] for line in server.lines if '"ops.listening"' in line)


def test_a_key_is_needed_and_one_that_only_reads_does_not_act(ops, monkeypatch):
    url, _ = ops(WSCTL_OPS_KEY=KEY, WSCTL_OPS_READ_KEY=READ_KEY)
    refusals = (
        (None, "UNAUTHORIZED", "A key is needed"),
        ("0123456789abcdef-wrong", "UNAUTHORIZED", "The key is none of this server's"),
        (READ_KEY, "FORBIDDEN", ""),
    )
    for key, code, words in refusals:
        with Publisher(url, key) as publisher, pytest.raises(OperationsKeyError) as refused:
            publisher.publish("x", room="a")
        assert (refused.value.code, words in str(refused.value)) == (code, True)
        assert ("WSCTL_OPS_KEY" in str(refused.value)) is (code == "UNAUTHORIZED")
    with Publisher(url, READ_KEY) as publisher:
        assert publisher.rooms().rooms == []
    monkeypatch.setenv("WSCTL_OPS_KEY", KEY)
    monkeypatch.setenv("WSCTL_OPS_URL", url + "/")
    with Publisher() as publisher:
        assert publisher.publish("x", room="a").seq == 1
        assert KEY not in repr(publisher) + repr(vars(publisher)["_pool"])


@pytest.mark.parametrize("key", ["two words", "schlüssel", "", "a\nb"])
def test_what_cannot_be_a_key_is_refused_and_not_shown(key):
    with pytest.raises(ConfigError) as refused:
        Publisher("http://127.0.0.1:1", key)
    assert key == "" or key not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ws://a",
        "http://",
        "http://a:x",
        "http://u:geheim@a",
        "http://a?x=1",
        "http://a\x1b",
        "http://a..b",
        "http://[v1.x]:1",
        f"http://{'a' * 70}",
    ],
)
def test_what_is_no_place_of_a_port_is_refused(url):
    with pytest.raises(ConfigError) as refused:
        Publisher(url)
    assert "geheim" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_an_act_of_the_same_key_is_done_once_and_another_is_a_conflict(shared_port):
    with Publisher(shared_port) as publisher:
        first = publisher.publish("x", 1, room="once", idempotency_key="order-17")
        assert publisher.publish("x", 1, room="once", idempotency_key="order-17") == first
        assert len(publisher.history(room="once")) == 1
        with pytest.raises(OperationRefusedError, match="CONFLICT"):
            publisher.publish("x", 2, room="once", idempotency_key="order-17")
        with pytest.raises(ValueError, match="64 visible"):
            publisher.publish("x", 2, room="once", idempotency_key="a\nb")
        with pytest.raises(TypeError):
            publisher.publish("x", object(), room="once")


class Stub(BaseHTTPRequestHandler):
    """Answers by a list: a status with a body, or None for an end in the middle, or "slow" for none at all."""

    protocol_version = "HTTP/1.1"
    script: list[Any]
    seen: list[tuple[str, str | None, bytes]]
    over: threading.Event

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.path, self.headers["Idempotency-Key"], body))
        step = self.script.pop(0)
        if step is None or step == "slow":
            if step:
                self.over.wait(HANG_S)
            self.close_connection = True
            return
        status, answer = step
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET = do_DELETE = answer  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def stub(*script: Any) -> Iterator[tuple[str, list[tuple[str, str | None, bytes]]]]:
    members = {"script": list(script), "seen": [], "over": threading.Event()}
    handler = type("Scripted", (Stub,), members)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.seen
    finally:
        handler.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


OK = (200, b'{"epoch":"e","seq":7}')
NOT_READY = (503, b'{"error":{"code":"NOT_READY","message":"Later."}}')
GATEWAY = (502, b"<html>bad gateway</html>")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(tries, "FIRST_PAUSE_S", 0.001)


@pytest.mark.parametrize("trouble", [None, NOT_READY, GATEWAY], ids=["cut", "not ready", "gateway"])
def test_what_may_pass_is_tried_again_with_the_same_key(trouble):
    with stub(trouble, trouble, OK) as (url, seen), Publisher(url) as publisher:
        assert publisher.publish("x", room="a").seq == 7
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert seen[0][1]


async def test_the_asynchronous_one_tries_again_too():
    with stub(None, NOT_READY, OK) as (url, seen):
        async with AsyncPublisher(url) as publisher:
            assert (await publisher.publish("x", room="a")).seq == 7
    assert len(set(seen)) == 1


@pytest.mark.parametrize(
    ("script", "kind", "is_unknown", "tried"),
    [
        ([None] * 3, OperationsUnreachableError, True, 3),
        ([NOT_READY] * 3, OperationRefusedError, False, 3),
        ([None, NOT_READY, NOT_READY], OperationRefusedError, True, 3),
        ([(504, b'{"error":{"code":"UNKNOWN_OUTCOME","message":"?"}}')], OperationRefusedError, True, 1),
        ([(400, b'{"error":{"code":"NEW_ONE","message":"?"}}')], OperationRefusedError, False, 1),
        ([(200, b"<html>")] * 3, OperationsUnreachableError, True, 3),
        ([(404, b"<html>")], OperationsUnreachableError, False, 1),
        ([(401, b"<html>")], OperationsKeyError, False, 1),
        ([(302, b"")], OperationsUnreachableError, False, 1),
    ],
)
def test_what_nobody_knows_is_told_as_that(script, kind, is_unknown, tried):
    with stub(*script) as (url, seen), Publisher(url) as publisher:
        with pytest.raises(kind) as failed:
            publisher.publish("x", room="a")
        assert (failed.value.is_unknown, len(seen)) == (is_unknown, tried)


def test_what_has_no_key_is_not_tried_again_where_it_may_be_done():
    with stub(None, OK) as (url, seen), Publisher(url) as publisher:
        with pytest.raises(OperationsUnreachableError, match="nobody knows"):
            publisher.remove_history(room="a")
        assert len(seen) == 1


def test_an_answer_that_does_not_come_ends_with_the_time():
    with stub("slow") as (url, _), Publisher(url, timeout_s=0.05, retries=0) as publisher:
        with pytest.raises(OperationsUnreachableError, match=r"within 0\.05 s; nobody knows") as failed:
            publisher.publish("x", room="a")
        assert failed.value.__cause__ is None


def test_a_port_that_is_not_there_is_told_without_the_key(unused_port):
    with Publisher(f"http://127.0.0.1:{unused_port}", KEY) as publisher, pytest.raises(OperationsError) as failed:
        publisher.publish("x", room="a")
    assert str(failed.value).endswith("Connection refused")
    assert not failed.value.is_unknown
    assert KEY not in str(failed.value)


async def test_the_asynchronous_one_tells_it_in_the_same_words(unused_port):
    async with AsyncPublisher(f"http://127.0.0.1:{unused_port}", retries=0) as publisher:
        with pytest.raises(OperationsUnreachableError) as failed:
            await publisher.publish("x", room="a")
    assert failed.value.problem == "Connection refused"
    assert not failed.value.is_unknown


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_threads_and_forked_processes_share_a_publisher(shared_port):
    with Publisher(shared_port) as publisher:
        publisher.publish("x", 0, room="forked")

        def publish(number: int) -> int | None:
            return publisher.publish("x", number, room="forked").seq

        def in_child(results: Any) -> None:
            results.put([publish(number) for number in range(20)])
            results.close()
            results.join_thread()
            os._exit(0)

        context = multiprocessing.get_context("fork")
        results = context.Queue()
        children = [context.Process(target=in_child, args=(results,)) for _ in range(2)]
        for child in children:
            child.start()
        with ThreadPoolExecutor(4) as pool:
            seqs = list(pool.map(publish, range(20)))
        seqs += results.get(timeout=HANG_S) + results.get(timeout=HANG_S)
        for child in children:
            child.join(HANG_S)
    assert sorted(seqs) == list(range(2, 62))


def test_data_that_no_json_is_made_of_is_a_type_error(shared_port):
    endless: list[Any] = []
    endless.append(endless)
    with Publisher(shared_port) as publisher:
        for data in (endless, object()):
            with pytest.raises(TypeError):
                publisher.publish("x", data, room="a")

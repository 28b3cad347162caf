"""What a holder of a key may send to the operations port: nothing fails unseen, nothing is done that no line tells."""

from __future__ import annotations

import asyncio
import json
import signal
import socket

import httpx
import pytest
from msgspec import Raw

from wscore.jsonvalues import MAX_DEPTH
from wscore.operations import ApiErrorCode, Problem
from wsserver.brokers.redistarget import read_target
from wsserver.operations.accesskeys import AccessKey, Right
from wsserver.operations.keyring import KeyRing
from wsserver.operations.port import replies
from wsserver.operations.port.app import port_app
from wsserver.operations.port.audit import MAX_TARGET_CHARS
from wsserver.operations.port.serving import OperationsPort
from wsserver.operations.problems import ApiError
from wsserver.operations.queries import HistoryAnswer, PublishAll, PublishAnswer, PublishOutcome, ReadHistory
from wsserver.operations.settings import PortSettings
from wsserver.telemetry.logs import EventLog

HANG_S = 20
KEY = "0123456789abcdef-operator"
JSON = {"Content-Type": "application/json"}


class Steered:
    """The operations of a server; `act` and `look` are called first, and may raise or answer."""

    def __init__(self, operations):
        self.operations = operations
        self.act_first = self.look_first = None

    async def here(self, query):
        if self.look_first is not None:
            await self.look_first()
        return await self.operations.here(query)

    async def everywhere(self, query):
        if self.look_first is not None:
            await self.look_first()
        return await self.operations.everywhere(query)

    async def act(self, query):
        answer = None if self.act_first is None else await self.act_first(query)
        return await self.operations.act(query) if answer is None else answer


@pytest.fixture
async def steered(start_server):
    server = await start_server()
    return Steered(server.operations)


@pytest.fixture
async def client(steered):
    """A client with the key of a port in this process, which `steered` answers."""
    keys = KeyRing(lambda: [AccessKey.of("ops", Right.WRITE, KEY, "")])
    serving = OperationsPort(PortSettings(0, keys=keys))
    serving.start(port_app(steered, keys, EventLog()), EventLog())
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=serving.url, headers=headers, timeout=HANG_S, trust_env=False) as client:
        yield client
    await serving.stop()


async def refused(client, path, body):
    answer = await client.post(f"/api/v1/{path}", content=body, headers=JSON)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("place")


def acts(caplog):
    return [record.fields for record in caplog.records if record.getMessage() == "ops.act"]


DEEP = b"[" * 100_000 + b"]" * 100_000
BATCH = b'{"acts":[{"act":"publish","type":"x","room":"good"},{"act":"publish","type":"x","room":"r","data":%b}]}'
ROUTES = {
    "publish": b'{"type":"x","room":"good","data":%b}',
    "broadcast": b'{"type":"x","rooms":["good"],"data":%b}',
    "send": b'{"type":"x","connection":"nobody","data":%b}',
    "batch": BATCH,
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "data",
    [b'"\xff"', b'{"\xff":1}', b'"\xed\xa0\x80"', DEEP, b"[" * 900_000, b"[" * 133 + b"]" * 133],
    ids=["a-byte", "a-name", "a-surrogate", "deep", "deep-without-end", "a-little-too-deep"],
)
async def test_data_that_nobody_could_read_is_refused_before_anything_is_done(client, path, data):
    status, code, _ = await refused(client, path, ROUTES[path] % data)
    assert (status, code) == (400, "INVALID_REQUEST")
    history = (await client.get("/api/v1/history?room=good")).json()
    assert history["messages"] == []


@pytest.mark.parametrize("body", [b"[" * 900_000, b'{"zzz":' + b"[" * 400_000 + b"]" * 400_000 + b"}"])
async def test_a_deep_body_is_refused_wherever_it_is_deep(client, body):
    assert (await refused(client, "publish", body))[:2] == (400, "INVALID_REQUEST")


async def test_data_is_as_deep_as_a_client_may_send_it(client):
    data = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert (await client.post("/api/v1/batch", content=BATCH % data, headers=JSON)).status_code == 200
    assert len((await client.get("/api/v1/history?room=r")).json()["messages"]) == 1


@pytest.mark.parametrize(
    ("path", "fields", "place"),
    [
        ("publish", {"type": "x" * 65, "room": "r"}, "$.type"),
        ("publish", {"type": "x", "room": "r", "userId": "u" * 1025}, "$.userId"),
        ("publish", {"type": "x", "room": "r", "exceptConnection": "u" * 1025}, "$.exceptConnection"),
        ("broadcast", {"type": "x" * 900_000, "rooms": ["r"]}, "$.type"),
        ("broadcast", {"type": "x", "rooms": ["r"], "userId": "u" * 1025}, "$.userId"),
        ("send", {"type": "x", "connection": "c", "id": "i" * 65}, "$.id"),
        ("disconnect", {"connection": "c", "reason": "r" * 124}, "$.reason"),
    ],
)
async def test_every_name_has_a_length(client, path, fields, place):
    assert await refused(client, path, json.dumps(fields).encode()) == (400, "INVALID_REQUEST", place)


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/rooms"])
async def test_what_fails_is_answered_as_the_api_does_and_tells_nothing(client, steered, caplog, path):
    async def fail():
        raise RuntimeError("secret")

    steered.look_first = fail
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL")
    assert "secret" not in answer.text
    assert any(record.getMessage() == "ops.failed" for record in caplog.records)


UNKNOWN = ApiError(ApiErrorCode.UNKNOWN_OUTCOME, "nobody knows")


@pytest.mark.parametrize("error", [UNKNOWN, RuntimeError("it broke")], ids=["unknown", "broken"])
async def test_what_may_be_done_is_told_by_the_audit_however_it_fails(client, steered, caplog, error):
    async def fail(query):
        raise error

    async def fail_looking():
        raise error

    caplog.set_level("INFO", logger="wsctl")
    steered.act_first, steered.look_first = fail, fail_looking
    await client.post("/api/v1/publish", json={"type": "x", "room": "a"})
    await client.post("/api/v1/broadcast", json={"type": "x", "rooms": ["b"], "users": ["c,d"]})
    publishes = [{"act": "publish", "type": "x", "room": name} for name in ("e", "f")]
    await client.post("/api/v1/batch", json={"acts": publishes})
    await client.post("/api/v1/send", json={"type": "x", "connection": "g"})
    await client.post("/api/v1/disconnect", json={"user": "h"})
    await client.post("/api/v1/tokens/revoke", json={"userId": "i"})
    await client.delete("/api/v1/history?room=j")
    assert [(act["act"], act["target"], act["result"]) for act in acts(caplog)] == [
        ("publish", "room:a", "UNKNOWN_OUTCOME"),
        ("broadcast", '["room:b","user:c,d"]', "UNKNOWN_OUTCOME"),
        ("publish", "room:e", "UNKNOWN_OUTCOME"),
        ("publish", "room:f", "UNKNOWN_OUTCOME"),
        ("send", "connection:g", "UNKNOWN_OUTCOME"),
        ("disconnect", "user:h", "UNKNOWN_OUTCOME"),
        ("revoke", "user:i", "UNKNOWN_OUTCOME"),
        ("history.remove", "room:j", "UNKNOWN_OUTCOME"),
    ]


async def test_the_audit_names_all_targets_of_a_broadcast_in_lines_that_can_be_read(client, caplog):
    caplog.set_level("INFO", logger="wsctl")
    users = [f'u,"{number}' + "\x7f" * 100 for number in range(500)]
    answer = await client.post("/api/v1/broadcast", json={"type": "x", "rooms": ["r"], "users": users})
    assert answer.status_code == 200
    lines = acts(caplog)
    assert [name for line in lines for name in json.loads(line["target"])] == ["room:r", *(f"user:{u}" for u in users)]
    assert [line["part"] for line in lines] == list(range(1, len(lines) + 1))
    assert all(line["count"] == 501 and len(line["target"]) < 2 * MAX_TARGET_CHARS for line in lines)


@pytest.mark.parametrize("path", ["broadcast", "batch"])
async def test_an_act_of_which_nothing_was_done_is_done_when_it_is_sent_again(client, steered, path):
    body = {"type": "x", "rooms": ["a", "b"]}
    if path == "batch":
        body = {"acts": [{"act": "broadcast", **body}, {"act": "publish", "type": "x", "room": "c"}]}
    problem = PublishOutcome(None, Problem(ApiErrorCode.NOT_READY, "not now"))

    async def not_now(query):
        assert isinstance(query, PublishAll)
        return PublishAnswer([problem for act in query.acts for _ in range(act.targets)])

    async def send():
        return (await client.post(f"/api/v1/{path}", json=body, headers={"Idempotency-Key": "k"})).json()["results"]

    steered.act_first = not_now
    assert "NOT_READY" in json.dumps(await send())
    steered.act_first = None
    done = await send()
    assert "NOT_READY" not in json.dumps(done)
    assert await send() == done  # once
    assert len((await client.get("/api/v1/history?room=a")).json()["messages"]) == 1


async def test_history_is_not_ready_while_redis_stands_still(start_server, redis):
    server = await start_server(broker=read_target(redis.url))
    redis.signal(signal.SIGSTOP)
    try:
        with pytest.raises(ApiError) as raised:
            await server.operations.act(ReadHistory("room", "r", 10))
    finally:
        redis.signal(signal.SIGCONT)
    assert raised.value.problem.code is ApiErrorCode.NOT_READY


async def test_nobody_is_sent_elsewhere_by_a_slash(client):
    answer = await client.get("/metrics/", headers={"Host": "evil.example"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


async def test_nothing_is_looked_for_that_nobody_waits_for(client, steered):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def look():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    steered.look_first = look
    asking = asyncio.create_task(client.get("/api/v1/rooms"))
    async with asyncio.timeout(HANG_S):
        await begun.wait()
        asking.cancel()
        await ended.wait()


async def test_answers_that_nobody_reads_take_a_bounded_room(client, steered, monkeypatch):
    monkeypatch.setattr(replies, "MAX_UNSENT_BYTES", 8 << 20)

    async def much(query):
        return HistoryAnswer([Raw(b'"' + b"y" * (4 << 20) + b'"')])

    steered.act_first = much
    host, port = client.base_url.host, client.base_url.port
    request = f"GET /api/v1/history?room=large HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
    unread = []
    for _ in range(20):
        reading = socket.socket()
        reading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # or the system takes all of it
        reading.connect((host, port))
        unread.append(reading)
        reading.sendall(request)
        answer = await client.get("/api/v1/history?room=large")
        if answer.status_code == 503:
            break
    assert answer.json()["error"]["code"] == "BUSY"
    assert (await client.get("/api/v1/rooms")).status_code == 200
    for reading in unread:
        reading.close()

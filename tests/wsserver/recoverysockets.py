"""The world of `tests/wscore/recoveryworld.py` on a real server: each step is one over sockets.

The server is one for all worlds of a run; each world has groups of its own. A mutant breaks the server, or the counting
of its clients, in the way that the model has it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from websockets.asyncio.client import connect

from tests.conftest import SECRET
from tests.wscore.recoveryworld import CLIENTS, GROUPS, LIMITS, HalfCounter, Mutant
from wscore.counting import EventCounter, EventPlace
from wscore.heartbeat import HeartbeatPolicy
from wscore.histories import Histories
from wscore.recovery import GroupHistory, Position
from wscore.tokens import JwtKey, mint_jwt
from wscore.wallclock import now_ms
from wsserver import Clock, ServerSettings, WebSocketServer
from wsserver.brokers.base import ROOM, SESSION
from wsserver.connections.rooms import Rooms
from wsserver.lifetime.controller import WebSocketController
from wsserver.settings import EngineName

HANG_S = 120  # only to end a test that would hang: after thousands of runs hypothesis itself may stop for seconds
_DAY_MS = 24 * 3600 * 1000
_SESSION_GROUP = GROUPS[0]  # the other one is a room


class Running:
    """A server with a loop and a clock of its own."""

    def __init__(self, engine: EngineName, mutant: Mutant, patch: Callable[[object, str, object], None]) -> None:
        self.mutant = mutant
        self.now_s = 1000.0
        self.worlds = count(1)
        self.late: list[Callable[[], None]] = []  # greetings that a broken server has put off
        self._loop = asyncio.new_event_loop()
        self.server: WebSocketServer = self.run(self._start(engine))
        if mutant is Mutant.REGISTER_FIRST:
            _register_first(patch, self.late)
        elif mutant is Mutant.PARTIAL_REPLAY:
            _replay_partially(patch)

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(step, HANG_S))

    def stop(self) -> None:
        self.run(self.server.stop())
        self._loop.close()

    async def _start(self, engine: EngineName) -> WebSocketServer:
        settings = ServerSettings(
            port=0,
            engine=engine,
            recovery=LIMITS,
            jwt_key=JwtKey(secret=SECRET),
            heartbeat=HeartbeatPolicy(_DAY_MS, 100 * _DAY_MS),  # time leaps here
            handshake_timeout_ms=HANG_S * 1000,
            drain_timeout_ms=2000,
            close_timeout_ms=1000,
        )
        server = WebSocketServer(settings, clock=Clock(now_s=lambda: self.now_s))
        await server.start()
        return server


class SocketClient:
    """One client in one group; `inbox` is what has come and is not read yet, None while it is away."""

    def __init__(self, counter: EventCounter) -> None:
        self.counter = counter
        self.ws: Any = None
        self.connection_id = ""
        self.resume: dict[str, object] = {}
        self.inbox: deque[tuple[str, dict[str, Any]]] | None = None
        self.is_greeted = False

    def note_greeting(self, envelope: dict[str, Any]) -> None:
        self.connection_id = envelope["data"]["connectionId"]
        self.resume = {"resume": envelope["data"]["recovery"]["resumeToken"]}


class SocketWorld:
    """As `World`, over sockets."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._server = running.server
        world = next(running.worlds)
        self._names = {group: f"{group}-{world}" for group in GROUPS}
        counter = HalfCounter if running.mutant is Mutant.SET_APART else EventCounter
        self.clients = {(group, name): SocketClient(counter()) for group in GROUPS for name in CLIENTS}
        self.truth: dict[tuple[str, str, int], tuple[int, str | None]] = {}
        self.bytes: dict[tuple[str, str, int], str] = {}
        self.published = 0
        running.late.clear()

    def publish(self, group: str, size: int, left_out: str | None = None) -> None:
        self.greet()
        self._running.run(self._publish(group, size, left_out))

    def connect(self, group: str, name: str) -> None:
        if self.clients[group, name].inbox is None:
            self._running.run(self._connect(group, name))

    def cut(self, group: str, name: str) -> None:
        if self.clients[group, name].inbox is not None:
            self._running.run(self._cut(self.clients[group, name]))

    def read(self, group: str, name: str) -> None:
        client = self.clients[group, name]
        if client.inbox is None:
            return
        if not client.inbox:
            self._running.run(_fetch(client))
        if client.inbox:
            self._take(group, name, client, *client.inbox.popleft())

    def renew(self, group: str) -> None:
        self._running.run(self._renew(group))

    def wait(self, seconds: float) -> None:
        self._running.now_s += seconds
        self._running.run(self._expire())

    def greet(self) -> None:
        """Do what a broken server has put off; half of the time it comes after what others publish."""
        if self.published % 2:
            self._running.run(self._greet_late())

    def check(self) -> None:
        """What holds after every step."""
        assert self._server.metrics.value("wsctl_recovery_bytes") <= LIMITS.memory + LIMITS.size

    def settle(self) -> None:
        """Let everyone come back and read everything: all stand where the group stands."""
        try:
            self.published += not self.published % 2
            self.greet()
            for group, name in self.clients:
                self.connect(group, name)
            self.greet()
            for (group, name), client in self.clients.items():
                self._running.run(_fetch(client))
                while client.inbox:
                    self.read(group, name)
                held, stands = client.counter.position, self._stands(group)
                assert held == stands, f"it stands elsewhere: {held}, not {stands}"
        finally:
            for group, name in self.clients:
                self.cut(group, name)

    def _stands(self, group: str) -> Position | None:
        return self._server.hub._broker.position(self._kind(group), self._names[group])

    @staticmethod
    def _kind(group: str):
        return SESSION if group == _SESSION_GROUP else ROOM

    async def _publish(self, group: str, size: int, left_out: str | None) -> None:
        self.published += 1
        target = {"session" if group == _SESSION_GROUP else "room": self._names[group]}
        client = None if left_out is None else self.clients[group, left_out]
        is_there = client is not None and bool(client.connection_id)
        result = self._server.hub.publish(
            "note",
            {"n": self.published, "x": "x" * size},
            except_connection=client.connection_id if is_there else None,
            **target,
        )
        self.truth[group, result.epoch, result.seq] = self.published, left_out if is_there else None

    async def _connect(self, group: str, name: str) -> None:
        client = self.clients[group, name]
        token = mint_jwt(SECRET, {"sub": name, "exp": now_ms() // 1000 + 3600})
        query: dict[str, object] = {"token": token, "sessionId": f"{self._names[group]}-{name}"}
        held = client.counter.position
        if group == _SESSION_GROUP:
            query["sessionId"] = self._names[group]
        query |= client.resume
        if group == _SESSION_GROUP and held is not None:
            query |= held._asdict()
        text = "&".join(f"{key}={value}" for key, value in query.items())
        client.ws = await connect(
            f"{self._server.url}?{text}", proxy=None, compression=None, ping_interval=None, open_timeout=None
        )
        client.inbox = deque()
        if group != _SESSION_GROUP:
            client.note_greeting(json.loads(await client.ws.recv()))
            recovery = None if held is None else held._asdict()
            await _send(client, "room.join", {"room": self._names[group], "recovery": recovery})
            await _fetch(client)
        elif self._running.mutant is not Mutant.REGISTER_FIRST:
            await _fetch(client)

    async def _cut(self, client: SocketClient) -> None:
        there = self._server.metrics.value("wsctl_connections")
        client.ws.transport.abort()  # and what it has not read is lost
        client.inbox, client.is_greeted, client.connection_id = None, False, ""
        while self._server.metrics.value("wsctl_connections") == there:
            await asyncio.sleep(0)

    async def _renew(self, group: str) -> None:
        broker, kind, name = self._server.hub._broker, self._kind(group), self._names[group]
        history = broker._histories.find(kind, name, self._running.now_s)
        broker._histories.renew(history)
        broker._lost(kind, name, history.position)

    async def _expire(self) -> None:
        await asyncio.sleep(0)  # the broker reads its clock once a turn
        self._server.hub._broker.check()

    async def _greet_late(self) -> None:
        late, self._running.late[:] = self._running.late[:], []
        for greet in late:
            greet()

    def _take(self, group: str, name: str, client: SocketClient, text: str, envelope: dict[str, Any]) -> None:
        kind, data = envelope["type"], envelope.get("data")
        if kind in ("session_created", "room.joined", "recovery"):
            told = data if kind == "recovery" else data["recovery"]
            recovered = told.get("recovered")
            is_lost = client.counter.begin(Position(told["epoch"], told["seq"]), recovered)
            assert is_lost is (recovered is False), "it was told to go on elsewhere than it was"
            client.is_greeted = True
            return
        seq = envelope["seq"]
        assert client.is_greeted, f"{seq} came before the greeting"
        held = client.counter.position
        assert client.counter.place(seq) is EventPlace.NEXT, f"{seq} came after {held}"
        key = group, held.epoch, seq
        number, left_out = self.truth[key]
        assert (kind == "skipped") is (left_out == name), f"{seq} is not what was published"
        if kind == "note":
            assert data["n"] == number, f"{seq} is not what was published"
            assert self.bytes.setdefault(key, text) == text, f"{seq} is not what others were sent"


async def _send(client: SocketClient, type: str, data: object, **fields: object) -> None:
    await client.ws.send(json.dumps({"type": type, "timestamp": 1, "data": data, **fields}))


async def _fetch(client: SocketClient) -> None:
    """Take all that was sent to a client into its inbox: what comes before the answer to a ping."""
    await _send(client, "ping", {"timestamp": 1}, id="fence")
    while True:
        text = await client.ws.recv()
        envelope = json.loads(text)
        if envelope["type"] == "pong":
            return
        if envelope["type"] == "ping":
            continue  # the heartbeat, whose first tick comes after a quarter of an hour of the loop's own time
        if envelope["type"] == "session_created":
            client.note_greeting(envelope)
        client.inbox.append((text, envelope))


def _register_first(patch: Callable[[object, str, object], None], late: list[Callable[[], None]]) -> None:
    """Break the server: a newcomer is a member before it is greeted."""
    welcome, join = WebSocketController.welcome, Rooms.join

    def welcomed(self, request, channel, principal, session, state=None):
        if not session.name.startswith(_SESSION_GROUP):
            return welcome(self, request, channel, principal, session, state)
        connection = self._welcome.connection(principal, session, channel, request.client_ip, self._wheel.now_s)
        self._connections.register(connection)
        self._wheel.add(connection)
        self._expiry.watch(connection)

        def greet() -> None:
            if connection.is_open:
                answer = self._resume.answer(connection, request)
                recovery = self._resume.greeting(connection, answer)
                self._sender.send(connection, "session_created", self._welcome.greeting(connection, recovery))
                self._resume.replay(connection, answer)

        late.append(greet)
        return connection

    def joined(self, connection, room, access, *, asked=None, id=None, **others):
        group = self._groups.find(ROOM, room)
        self._enter(connection, group)

        def greet() -> None:
            if connection.is_open:
                answer = self._replays.answer(connection, ROOM, room, asked)
                self._tell(connection, group, answer, presence=False, id=id)
                self._replays.send(connection, ROOM, room, answer.events)

        late.append(greet)
        return True

    assert join is not joined
    patch(WebSocketController, "welcome", welcomed)
    patch(Rooms, "join", joined)


def _replay_partially(patch: Callable[[object, str, object], None]) -> None:
    """Break the server: what is left of the window is replayed, as if it were all."""
    since = Histories.since

    def partial(self: Histories, history: GroupHistory, asked: Position, now_s: float, client: str | None = None):
        events = since(self, history, asked, now_s, client)
        if events is None and asked.epoch == history.epoch:
            kept = self.events(history, now_s)
            return list(enumerate(kept, history.seq - len(kept) + 1))
        return events

    patch(Histories, "since", partial)

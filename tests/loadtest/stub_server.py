"""A server that lies on purpose: `python stub_server.py '{"delay_ms": 50}'` prints its port and does as `Lies` says."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve

HELD_S = 0.1


@dataclass
class Lies:
    """What is wrong with it. Many name the last digit of the messages that it happens to; `/truth` tells how often."""

    delay_ms: float = 0
    lose: int | None = None
    repeat: int | None = None
    swap: int | None = None
    misroute: int | None = None  # to another session, or another connection, in place of the right one
    leak: int | None = None  # to another session as well
    wrong_id: int | None = None
    spoil: int | None = None  # the padding of it
    deface: int | None = None  # its number
    garble: int | None = None  # no JSON in its place
    binary: int | None = None  # a binary frame in its place
    delay_one_in: int = 0  # that many pings, by slow_ms
    slow_ms: float = 0
    skew_ms: int = 0  # of its clock
    accept_after_s: float = 0
    greets: int | None = None  # so many connections, and no more
    only_first: bool = False  # it happens to the first receiver of a session alone
    first_delay_ms: float = 0  # of what that one gets
    personal: bool = False  # each receiver gets other bytes
    stall_after: int | None = None  # so many pings or messages, for stall_s
    stall_s: float = 0
    refuse_with: int | None = None  # close code in place of session_created
    error_code: str = "AUTH_INVALID"
    close_after: int | None = None  # so many pings or messages: everyone is closed with close_code
    close_code: int = 4003
    die_after: int | None = None
    heartbeat_ms: int = 25_000
    ping_first: bool = False
    recovers: bool = False  # keeps the events of sessions, and replays them
    forgets: int = 0  # so many of a replay, the first ones
    repeats: int = 0  # so many of those that a client has read
    bare_pongs: bool = False  # without the id of their ping, as the seed's server sends them
    greetings: int = 1
    noise: tuple[str, ...] = ()  # sent after the greeting; "0x…" is a binary frame
    accept: int | None = None  # after so many connections: HTTP 503


@dataclass
class Session:
    """A room: who is in it, and by publisher the message that is held back."""

    members: list[ServerConnection] = field(default_factory=list)
    held: dict[int, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)


class Stub:
    def __init__(self, lies: Lies) -> None:
        self.lies = lies
        self.sessions: dict[str, Session] = {}
        self.everyone: set[ServerConnection] = set()
        self.handled = 0
        self.accepted = 0
        self.greeted = 0
        self.ponged: set[ServerConnection] = set()
        self.truth: Counter[str] = Counter()

    async def connected(self, connection: ServerConnection) -> None:
        lies = self.lies
        if lies.refuse_with is not None:
            data = {"code": lies.error_code, "message": "no", "retryable": False}
            await connection.send(envelope("error", data))
            await connection.close(lies.refuse_with)
            return
        query = parse_qs(urlsplit(connection.request.path).query) if connection.request else {}
        name = query.get("sessionId", [str(connection.id)])[0]
        created: dict[str, Any] = {
            "sessionId": name,
            "userId": "someone",
            "isGuest": True,
            "connectionId": str(connection.id),
            "heartbeat": {"intervalMs": lies.heartbeat_ms, "timeoutMs": lies.heartbeat_ms * 3},
            "limits": {"maxMessageBytes": 1 << 20},
        }
        session = self.sessions.setdefault(name, Session())
        replay: list[str] = []
        if lies.recovers:
            seq = int(query.get("seq", [len(session.events)])[0])
            replay = session.events[seq - lies.repeats : seq] + session.events[seq + lies.forgets :]
            asked = {"recovered": True} if "resume" in query else {}
            created["recovery"] = {"epoch": "e", "seq": seq, "resumeToken": "r", **asked}
        session.members.append(connection)
        self.everyone.add(connection)
        self.greeted += 1
        for _ in range(0 if lies.greets is not None and self.greeted > lies.greets else lies.greetings):
            await connection.send(envelope("session_created", created))
        for text in replay:
            await connection.send(text)
        for text in lies.noise:
            await connection.send(bytes.fromhex(text[2:]) if text.startswith("0x") else text)
        if lies.ping_first:
            await connection.send(envelope("ping", {"timestamp": 1}))
        try:
            async for text in connection:
                await self.handle(connection, session, json.loads(text))
        finally:
            session.members.remove(connection)
            self.everyone.discard(connection)

    async def handle(self, connection: ServerConnection, session: Session, message: dict[str, Any]) -> None:
        if message["type"] == "pong":
            self.ponged.add(connection)
            return
        self.handled += 1
        lies = self.lies
        if self.handled == lies.die_after:
            os._exit(1)
        if self.handled == lies.close_after:
            for session in tuple(self.everyone):
                asyncio.get_running_loop().create_task(session.close(lies.close_code))
        if self.handled == lies.stall_after:
            time.sleep(lies.stall_s)  # all of it stands still
        if message["type"] == "ping":
            self.answer(connection, message)
        elif lies.recovers:
            session.events.append(envelope("message", message["data"], seq=len(session.events) + 1))
            for member in session.members:
                self.later(member, session.events[-1])
        else:
            self.fan_out(session, message)

    def answer(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        lies = self.lies
        digit = self.handled % 10
        identity = "nobody's" if digit == lies.wrong_id else message.get("id")
        pong: str | bytes = envelope("pong", {"timestamp": 1}, id=None if lies.bare_pongs else identity)
        if digit in (lies.garble, lies.binary):
            self.truth["garbled"] += 1
            pong = b"\x00\xff" if digit == lies.binary else '{"type":"po'
        if lies.delay_one_in and self.handled % lies.delay_one_in == 0:
            asyncio.get_running_loop().call_later(lies.slow_ms / 1000, self.send, connection, pong)
        elif digit == lies.misroute:
            self.later(next(other for other in self.everyone if other is not connection), pong)
        elif digit != lies.lose:
            self.later(connection, pong)
        if digit == lies.repeat:
            self.later(connection, pong)

    def fan_out(self, session: Session, message: dict[str, Any]) -> None:
        lies = self.lies
        publisher, digit = message["data"]["pub"], message["data"]["seq"] % 10
        data = message["data"]
        if digit == lies.spoil:
            data["pad"] = data["pad"][:-1] + "y"
        if digit == lies.deface:
            data["seq"] += 1
        text = envelope("message", data, userId="someone", skew_ms=lies.skew_ms)
        if digit in (lies.misroute, lies.leak):
            other = next(other for other in self.sessions.values() if other is not session and other.members)
            for member in other.members:
                self.later(member, text)
            if digit == lies.misroute:
                return
        victims = session.members[:1] if lies.only_first else session.members
        for member in session.members:
            copies = 1
            if member in victims:
                copies = 0 if digit in (lies.lose, lies.swap) else 2 if digit == lies.repeat else 1
            own = text.replace("{", f'{{"for": "{member.id}", ', 1) if lies.personal else text
            for _ in range(copies):
                self.later(member, own, lies.first_delay_ms if member is session.members[0] else 0)
        held = session.held.pop(publisher, None)
        if held is not None:
            for member in victims:
                self.later(member, held)
        if digit == lies.swap:
            session.held[publisher] = text
            asyncio.get_running_loop().call_later(HELD_S, self.release, session, publisher, text)

    def release(self, session: Session, publisher: int, text: str) -> None:
        """Let go what is held back, since no message of that publisher followed."""
        if session.held.get(publisher) == text:
            del session.held[publisher]
            for member in session.members[:1] if self.lies.only_first else session.members:
                self.later(member, text)

    def later(self, connection: ServerConnection, text: str | bytes, more_ms: float = 0) -> None:
        delay_ms = self.lies.delay_ms + more_ms
        if delay_ms:
            asyncio.get_running_loop().call_later(delay_ms / 1000, self.send, connection, text)
        else:
            self.send(connection, text)

    def send(self, connection: ServerConnection, text: str | bytes) -> None:
        asyncio.get_running_loop().create_task(self.send_now(connection, text))

    async def send_now(self, connection: ServerConnection, text: str | bytes) -> None:
        try:
            await connection.send(text)
        except Exception:
            self.everyone.discard(connection)


def envelope(kind: str, data: object, skew_ms: int = 0, **fields: object) -> str:
    named = {name: value for name, value in fields.items() if value is not None}
    return json.dumps({"type": kind, "timestamp": time.time_ns() // 1_000_000 + skew_ms, "data": data, **named})


async def main() -> None:
    lies = Lies(**json.loads(sys.argv[1]))
    stub = Stub(lies)

    async def gate(connection: ServerConnection, request: Any) -> object:
        if request.path == "/truth":
            return connection.respond(200, json.dumps(stub.truth))
        await asyncio.sleep(lies.accept_after_s)
        stub.accepted += 1
        if lies.accept is not None and stub.accepted > lies.accept:
            return connection.respond(503, "full\n")
        return None

    async with serve(
        stub.connected, "127.0.0.1", 0, process_request=gate, ping_interval=None, compression=None
    ) as server:
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())

"""What the tests of the operations port have beside it: clients of the server, and answers of the API."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack
from typing import Any

import httpx
from websockets.sync.client import connect

from tests.cli.conftest import HANG_S
from wscore.guest import mint_guest_token
from wscore.wallclock import now_ms


class Member:
    """A client of the server: a guest, in a session and perhaps in a room."""

    def __init__(self, stack: ExitStack, url: str, session: str, room: str | None = None) -> None:
        token = mint_guest_token(uuid.uuid4(), now_ms())
        self.ws = stack.enter_context(connect(f"{url}?token={token}&sessionId={session}", proxy=None))
        greeting = self.receive("session_created")
        self.id, self.user = greeting["data"]["connectionId"], greeting["data"]["userId"]
        if room is not None:
            self.ws.send(json.dumps({"type": "room.join", "timestamp": 1, "data": {"room": room}}))
            self.receive("room.joined")

    def receive(self, kind: str) -> dict[str, Any]:
        while True:
            message: dict[str, Any] = json.loads(self.ws.recv(HANG_S))
            if message["type"] == kind:
                return message


def asked(answer: httpx.Response) -> Any:
    """Return what was answered to what was done."""
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Return the status, the code and the place of an error."""
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("place")

"""What the tests of the operations port have beside it: clients of the server, and answers of the API."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import httpx
from websockets.sync.client import connect

from tests.cli.conftest import HANG_S
from wscore.guest import mint_guest_token
from wscore.wallclock import now_ms

CLOSE_S = 0.5  # a close that is not answered sooner is that of one who reads nothing


class Member:
    """A client of the server: a guest, in a session and perhaps in a room."""

    def __init__(self, stack: ExitStack, url: str, session: str, room: str | None = None) -> None:
        token = mint_guest_token(uuid.uuid4(), now_ms())
        address = f"{url}?token={token}&sessionId={session}"
        self.ws = stack.enter_context(connect(address, proxy=None, close_timeout=CLOSE_S))
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


@contextmanager
def operated(start_wsctl: Callable[..., subprocess.Popen[str]]) -> Iterator[Callable[..., Any]]:
    """Yield what starts a server with an operations port: its process, a client of the port, and what makes members."""
    with ExitStack() as stack:

        def start(*options: str, headers: dict[str, str] | None = None, **variables: str) -> Any:
            process = start_wsctl("serve", "--port", "0", "--ops-port", "0", *options, **variables)
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("wsctl serves "):
                    url = line.split()[2]
                if line.startswith("  ops:"):
                    base = line.split()[1]
                    break
            else:
                raise AssertionError(f"it ended: {process.wait()}")
            client = httpx.Client(base_url=f"{base}/api/v1/", timeout=HANG_S, trust_env=False, headers=headers)
            return process, stack.enter_context(client), partial(Member, stack, url)

        yield start


def asked(answer: httpx.Response) -> Any:
    """Return what was answered to what was done."""
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Return the status, the code and the place of an error."""
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("place")

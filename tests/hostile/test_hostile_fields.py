"""Envelopes of the wrong shape over one open socket: each is handled or answered with INVALID_MESSAGE."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection, connect

from tests.conftest import ENGINES
from wscore.guest import mint_guest_token

HANG_S = 20
ROOT = Path(__file__).parents[2]


class Peer:
    """A connection that knows which answer belongs to which question, since each round ends with a ping."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.rounds = 0
        self.greeting = json.loads(ws.recv(HANG_S))

    def exchange(self, frame: str) -> list[dict[str, Any]]:
        """Send a frame and a ping; return what came before the pong to that ping."""
        self.rounds += 1
        marker = f"round-{self.rounds}"
        self.ws.send(frame)
        self.ws.send(json.dumps({"type": "ping", "timestamp": 1, "id": marker}))
        answers = []
        while True:
            envelope = json.loads(self.ws.recv(HANG_S))
            if envelope.get("id") == marker and envelope["type"] == "pong":
                return answers
            answers.append(envelope)


@pytest.fixture(scope="module", params=ENGINES)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """One open connection to a real `wsctl serve`, for all examples of an engine."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
    command = [sys.executable, "-m", "cli.main", "serve", "--port", "0", "--log-format", "json"]
    process = subprocess.Popen(
        [*command, "--engine", request.param, "--heartbeat-interval", "1h", "--heartbeat-timeout", "2h"],
        stderr=subprocess.PIPE,
        text=True,
        env=clean | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    listening, log = process.stderr.readline(), list[str]()
    reader = threading.Thread(target=log.extend, args=(process.stderr,))
    reader.start()
    try:
        url = json.loads(listening)["url"]
        token = mint_guest_token(uuid.uuid4(), time.time_ns() // 1_000_000)
        with connect(f"{url}?token={token}", proxy=None, compression=None, ping_interval=None) as ws:
            yield Peer(ws)
            assert ws.close_code is None
    finally:
        process.terminate()
        code = process.wait(HANG_S)
        reader.join(HANG_S)
        process.stderr.close()
    assert code == 0
    assert not [line for line in log if '"level": "error"' in line]


SAFE = 2**53 - 1
TYPES = ("ping", "pong", "message", "auth_refresh", "app.custom", "session_created", "error", "disconnect")
# Only what UTF-8 can carry: a lone surrogate cannot be sent raw, its escape is an example of its own.
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
FIELDS = {
    "type": st.sampled_from(TYPES) | st.text("aZ09_.:- \n\x00ü", max_size=66) | JSON,
    "timestamp": st.integers(0, SAFE) | st.sampled_from((-1, SAFE + 1, 1.5, 1e300, "1", True, None, 10**400)) | JSON,
    "sessionId": st.none() | TEXT | JSON,
    "data": JSON | st.fixed_dictionaries({"token": JSON}) | st.fixed_dictionaries({"timestamp": JSON}),
    "id": st.text("ab\x00ü😀", min_size=60, max_size=70) | TEXT | JSON,
    "seq": st.integers() | JSON,
    "userId": TEXT | JSON,
}
ENVELOPES = st.fixed_dictionaries({}, optional=FIELDS)
# Good but for one field: else nearly every example would fail at the first of several wrong ones.
ONE_OFF = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda name: st.tuples(st.sampled_from(TYPES), FIELDS[name]).map(
        lambda pair: {"type": pair[0], "timestamp": 1, "id": "q", **{name: pair[1]}}
    )
)


def is_text(value: object, longest: int | None = None) -> bool:
    return value is None or (isinstance(value, str) and (longest is None or len(value) <= longest))


def is_valid(document: object) -> bool:
    """Tell what the table in the protocol says about a document, written down a second time."""
    if not isinstance(document, dict):
        return False
    kind, timestamp = document.get("type"), document.get("timestamp")
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-")
    return (
        isinstance(kind, str)
        and 1 <= len(kind) <= 64
        and set(kind) <= allowed
        and type(timestamp) is int
        and 0 <= timestamp <= SAFE
        and is_text(document.get("id"), 64)
        and is_text(document.get("sessionId"))
        and is_text(document.get("userId"))
    )


def check(peer: Peer, document: object, answers: list[dict[str, Any]]) -> None:
    request_id = document.get("id") if isinstance(document, dict) else None
    expected_id = request_id if is_text(request_id, 64) else None
    if not is_valid(document):
        (answer,) = answers
        assert (answer["type"], answer["data"]["code"]) == ("error", "INVALID_MESSAGE")
        assert answer["data"]["retryable"] is False
        assert answer.get("id") == expected_id
        return
    assert isinstance(document, dict)
    kinds = [answer["type"] for answer in answers]
    match document["type"]:
        case "ping":
            assert kinds == ["pong"]
        case "message":
            assert kinds == ["message"]
            assert answers[0].get("data") == document.get("data")
            assert answers[0]["userId"] == peer.greeting["data"]["userId"]
            assert answers[0]["sessionId"] == peer.greeting["sessionId"]
            expected_id = None
        case "auth_refresh":
            assert kinds == ["error"]
            assert answers[0]["data"]["code"] in ("INVALID_MESSAGE", "AUTH_INVALID")
        case "pong":
            assert kinds == []
        case "session_created" | "error" | "disconnect" if expected_id is None:  # the protocol names them
            assert kinds == []
        case _:
            assert kinds == ["error"]
            assert answers[0]["data"]["code"] == "INVALID_MESSAGE"
    assert all(answer.get("id") == expected_id for answer in answers)


many = settings(max_examples=200, deadline=None)


@many
@given(document=ENVELOPES | ONE_OFF | JSON)
@example(document={"type": "ping", "timestamp": True})
@example(document={"type": "ping", "timestamp": 1.0})
@example(document={"type": "ping", "timestamp": 1, "id": ""})
@example(document={"type": "ping", "timestamp": 1, "id": "ü" * 64})
@example(document={"type": "ping", "timestamp": 1, "id": "i" * 65})
@example(document={"type": "t" * 65, "timestamp": 1, "id": "q"})
@example(document={"type": "ping", "timestamp": SAFE + 1, "id": "q"})
@example(document={"type": "message", "timestamp": 0, "userId": "mallory", "sessionId": "elsewhere", "seq": "x"})
@example(document={"type": "message", "timestamp": SAFE, "data": {"__proto__": None, "": [0, -0.0, 1e-320]}})
@example(document={"type": "ping\n", "timestamp": 1, "id": "q"})
@example(document=[{"type": "ping", "timestamp": 1}])
def test_any_document_is_handled_or_answered_with_invalid_message(peer, document):
    check(peer, document, peer.exchange(json.dumps(document, ensure_ascii=False)))


@many
@given(frame=TEXT | st.builds("{}{}".format, ENVELOPES.map(json.dumps), st.text('{}[]",: \n\x00\\u\ufeff', max_size=4)))
@example(frame="")
@example(frame="null")
@example(frame='{"type":"ping","timestamp":1,"id":"q"}{}')
@example(frame='{"type":"ping","timestamp":1,"data":NaN}')
@example(frame='{"type":"ping","timestamp":1,"data":"\\ud800"}')
@example(frame='{"type":"\\ud800","timestamp":1}')
@example(frame='{"type":"ping","timestamp":1,"id":"\\udfff"}')
@example(frame='{"type":"ping","timestamp":01}')
@example(frame="\ufeff" + '{"type":"ping","timestamp":1}')
@example(frame='{"type":"ping","timestamp":1,}')
@example(frame="{'type':'ping','timestamp':1}")
@example(frame='{"type":"ping","timestamp":1' + "9" * 5000 + "}")
@example(frame='{"type":"ping","timestamp":1e1000}')
@example(frame='{"id":"q",' + '"type":{' * 5000)
def test_any_text_gets_at_most_one_answer_and_no_close(peer, frame):
    answers = peer.exchange(frame)
    try:
        document = json.loads(frame)
        frame.encode(), json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        (answer,) = answers
        assert (answer["type"], answer["data"]["code"]) == ("error", "INVALID_MESSAGE")
    else:
        check(peer, document, answers)

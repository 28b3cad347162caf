"""Canaries: recognisable tokens and secrets go every way in, and come out nowhere: no log, output, repr or argument."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from wsclient import Client, DialOptions, GuestTokens, StaticToken
from wsclient.url import normalise_url
from wscore.errors import WsctlError
from wscore.guest import GuestMode, GuestVerifier, mint_guest_token
from wscore.revocations import Revocations
from wscore.tokens import JwtKey, JwtVerifier, mint_jwt
from wsserver import ServerSettings, WebSocketServer
from wsserver.engines.request import HandshakeRequest
from wsserver.handshake.authentication import AuthenticationHandler
from wsserver.telemetry.logs import CONTINUATION

HANG_S = 60
ROOT = Path(__file__).parents[2]
WSCTL = [sys.executable, "-m", "cli.main"]
SECRET = "canary-secret-5f0c7d1e9a3b4c6d8e2f-32-bytes-and-more"
APP = """
from wsserver import App, Context

app = App()


@app.on("boom")
def boom(ctx: Context, data: dict) -> None:
    token = data["token"]
    raise RuntimeError(f"cannot use {token}" if data["shown"] else "cannot use it")


@app.on("boom.later")
async def boom_later(ctx: Context, data: dict) -> None:
    token = data["token"]
    raise KeyError(token if data["shown"] else "it")


@app.on_connect
def joined(ctx: Context) -> None:
    if ctx.principal.user_id == "unlucky":
        raise ValueError(ctx.principal)
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Canaries:
    """Tokens of every kind, and the texts by which any of them could be recognised."""

    def __init__(self) -> None:
        secret, other, hour = SECRET.encode(), b"another canary secret of 32 bytes", now_ms() // 1000 + 3600
        self.good = [
            mint_guest_token(uuid.uuid4(), now_ms(), secret),
            mint_jwt(secret, {"sub": "alice", "exp": hour}),
            mint_jwt(secret, {"sub": "unlucky", "exp": hour}),
        ]
        self.shaped = [
            *self.good,
            mint_guest_token(uuid.uuid4(), now_ms()),
            mint_guest_token(uuid.uuid4(), now_ms(), other),
            mint_guest_token(uuid.uuid4(), 1, secret),
            mint_jwt(other, {"sub": "alice", "exp": hour}),
            mint_jwt(secret, {"sub": "alice", "exp": 1}),
        ]
        # What no redaction could recognise must not get near a log in the first place.
        self.all = [*self.shaped, "canary-7d1e9a3b.canary-7d1e9a3b.canary-7d1e9a3b", "guest_canary-7d1e9a3b_1"]
        signatures = [token.rpartition("." if "." in token else "_")[2] for token in self.shaped]
        self.needles = {
            SECRET,
            "canary-7d1e9a3b",
            *self.all,
            *map(quote, self.all),
            *map(as_subprotocol, self.all),
            *(signature for signature in signatures if len(signature) > 20),
            *(token.split(".")[1] for token in self.shaped if "." in token),
        }

    def seen_in(self, text: str) -> list[str]:
        return [needle for needle in self.needles if needle in text]


def as_subprotocol(token: str) -> str:
    return "token." + base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `wsctl ARGUMENTS` beside an app `leaky` and files with the secret and tokens."""
    (tmp_path / "leaky.py").write_text(APP)
    (tmp_path / "jwt.secret").write_text(SECRET)
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
        process = subprocess.Popen(
            [*WSCTL, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=clean | {"PYTHONPATH": str(ROOT)} | variables,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(HANG_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


class Server:
    """A running `wsctl serve leaky:app`, whose log is read all along so that it never waits for a reader."""

    def __init__(self, start: Start, *arguments: str, **variables: str) -> None:
        options = ("leaky:app", "--port", "0", "--log-level", "debug", "--jwt-secret-file", "jwt.secret")
        self.process = start("serve", *options, "--guests", "signed", *arguments, **variables)
        assert self.process.stderr is not None
        self.lines, self.url = list[str](), ""
        while not (found := re.search(r"server\.listening.*?(ws://[^\s\"]+)", "".join(self.lines))):
            line = self.process.stderr.readline()
            assert line, "".join(self.lines)
            self.lines.append(line)
        self.url = found[1]
        self._reader = threading.Thread(target=self.lines.extend, args=(self.process.stderr,))
        self._reader.start()

    def stop(self) -> str:
        """End it with SIGTERM; return all that it wrote."""
        self.process.terminate()
        assert self.process.wait(HANG_S) == 0
        self._reader.join(HANG_S)
        assert self.process.stdout is not None
        return "".join(self.lines) + self.process.stdout.read()


def process_list() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True, timeout=HANG_S).stdout


def use(ws: ClientConnection, canaries: Canaries) -> int:
    """Send every token in every field that a client has; return how many answers came."""
    for number, token in enumerate(canaries.all):
        shown = token in canaries.shaped
        for type, data in (
            ("auth_refresh", {"token": token}),
            ("auth_refresh", {"token": [token]}),
            ("boom", {"token": token, "shown": shown}),
            ("boom.later", {"token": token, "shown": shown}),
            ("boom", token),
            (token if shown and len(token) <= 64 else "unknown", token),
            (f"{token} ", token),
        ):
            envelope = {"type": type, "timestamp": 1, "data": data, "userId": token, "id": f"q{number}"}
            ws.send(json.dumps(envelope))
    ws.send(json.dumps({"type": "ping", "timestamp": 1, "id": "last"}))
    answers = 0
    while json.loads(ws.recv(HANG_S)).get("id") != "last":
        answers += 1
    return answers


def knock(url: str, request: bytes) -> None:
    """Send raw bytes and read until the server hangs up or has answered."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), HANG_S) as peer:
        peer.sendall(request)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass


def bad_handshakes(token: str) -> Iterator[bytes]:
    query, header = f"?token={token}&sessionId={token}", f"Authorization: Bearer {token}\r\n"
    upgrade = "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    for head in (
        f"GET /socket.io/{query} HTTP/1.1\r\nHost: a\r\n{header}",
        f"GET /elsewhere/{token}{query} HTTP/1.1\r\n{upgrade}{key}{header}",
        f"GET /socket.io/{query} HTTP/1.1\r\n{upgrade}{header}",
        f"GET /socket.io/{query} HTTP/1.1\r\n{upgrade}{key}{header}X: {'x' * 9000}\r\n",
        f"GET /socket.io/{query}{'&a' * 40} HTTP/1.1\r\n{upgrade}{key}{header}",
        f"GET /socket.io/{query} HTTP/1.1\r\n{upgrade}{key}{header}no colon {token}\r\n",
        f"GET /socket.io/{query} HTTP/9.9\r\n{upgrade}{key}{header}",
        f"POST /socket.io/{query} HTTP/1.1\r\n{upgrade}{key}{header}",
        f"{token}\r\n{header}",
        f"GET /socket.io/{query}\xff HTTP/1.1\r\n{upgrade}{key}{header}",
        f"GET /socket.io/{query} HTTP/1.1\r\n{upgrade}{key}Sec-WebSocket-Protocol: {as_subprotocol(token)}, {{\r\n",
        f"GET /socket.io/{query} HTTP/1.1\r\n{upgrade}{key}Origin: https://evil/{query}\r\n",
    ):
        yield f"{head}\r\n".encode("latin-1")


@pytest.mark.parametrize(
    ("engine", "log_format", "variables"),
    [
        ("picows", "text", {}),
        ("websockets", "json", {"WSCTL_DEBUG": "1"}),
        ("websockets", "text", {"PYTHONASYNCIODEBUG": "1"}),
    ],
)
def test_no_canary_leaves_a_server_whatever_is_done_with_it(start, canaries, engine, log_format, variables):
    server = Server(start, "--engine", engine, "--log-format", log_format, **variables)
    url = server.url
    answers = 0
    for token in canaries.all:
        for query, options in (
            (f"?token={quote(token)}", {}),
            ("", {"additional_headers": {"Authorization": f"Bearer {token}"}}),
            ("", {"subprotocols": ["wsctl.v1", as_subprotocol(token)]}),
        ):
            try:
                with connect(f"{url}{query}", proxy=None, max_queue=None, **options) as ws:
                    if json.loads(ws.recv(HANG_S))["type"] == "session_created":
                        answers += use(ws, canaries)
                        ws.close(4321, f"leaving {canaries.shaped[3]}")
            except ConnectionClosed:
                pass
        for request in bad_handshakes(token):
            knock(url, request)
    running = process_list()
    log = server.stop()
    assert answers > 100
    assert canaries.seen_in(f"{log}{running}") == []
    assert "cli.main serve" in running
    assert {"handler.failed", "connection.refused", "message.unhandled"} <= set(re.findall(r"\w+\.\w+", log))
    # Tracebacks are only where an app's code raised: docs/cli.md, Logs.
    events = re.split(rf"\n(?!{re.escape(CONTINUATION)})", log)
    assert all("handler.failed" in event for event in events if "Traceback" in event)
    assert log.count("Traceback") >= 2 * len(canaries.all)


CONNECTS: dict[str, tuple[list[str], dict[str, str], int]] = {
    "WSCTL_TOKEN": (["URL"], {"WSCTL_TOKEN": "GOOD"}, 0),
    "WSCTL_TOKEN refused": (["URL"], {"WSCTL_TOKEN": "BAD"}, 4),
    "--token-file": (["URL", "--token-file", "good.token"], {}, 0),
    "--jwt-secret-file for a guest": (["URL", "--jwt-secret-file", "jwt.secret"], {}, 0),
    "--jwt-secret-file for a JWT": (["URL", "--jwt-secret-file", "jwt.secret", "--sub", "alice"], {}, 0),
    "a short secret": (["URL", "--sub", "alice"], {"WSCTL_JWT_SECRET": SECRET[:31]}, 2),
    "a URL with a token": (["URL?token=GOOD"], {}, 0),
    "a URL with a refused token": (["URL?token=BAD"], {}, 4),
    "a URL of another scheme": (["ftp://user:ODD@127.0.0.1/?token=ODD"], {}, 2),
    "a URL with a bad port": (["ws://ODD:ODD@127.0.0.1:99999/?token=GOOD"], {}, 2),
    "another path": (["URLelsewhere"], {"WSCTL_TOKEN": "GOOD"}, 3),
    "nobody there": (["ws://127.0.0.1:1/"], {"WSCTL_TOKEN": "GOOD"}, 3),
    "a header that is none": (["URL", "-H", "Authorization Bearer ODD"], {}, 2),
    "a header with a refused token": (["URL", "-H", "Authorization: Bearer ODD"], {}, 4),
    "a subprotocol with a refused token": (["URL", "--subprotocol", "wsctl.v1", "--subprotocol", "SUB"], {}, 4),
    "two tokens": (["URL", "--token-file", "good.token"], {"WSCTL_TOKEN": "ODD"}, 2),
}


FAILING = [name for name, row in CONNECTS.items() if row[2]]
PLAIN = [name for name in CONNECTS if name not in FAILING or name in ("WSCTL_TOKEN refused", "a header that is none")]


@pytest.mark.parametrize(("names", "debug"), [(PLAIN, {}), (FAILING, {"WSCTL_DEBUG": "1"})], ids=["", "WSCTL_DEBUG"])
def test_no_canary_leaves_a_client_whether_it_gets_in_or_not(start, canaries, tmp_path, names, debug):
    server = Server(start, "--engine", "picows")
    good, bad = canaries.good[1], canaries.shaped[6]
    (tmp_path / "good.token").write_text(f"{good}\n")
    (tmp_path / "bad.token").write_text(bad)
    placed = {"URL": server.url, "GOOD": good, "BAD": bad, "ODD": canaries.all[-2], "SUB": as_subprotocol(bad)}

    def place(text: str) -> str:
        return re.sub("URL|GOOD|BAD|ODD|SUB", lambda match: placed[match[0]], text)

    for pair in zip_longest(names[::2], names[1::2]):  # two processes at a time
        running = []
        for name in filter(None, pair):
            arguments, variables, _ = CONNECTS[name]
            environment = {key: place(value) for key, value in variables.items()}
            command = [place(argument) for argument in arguments]
            running.append(start("connect", *command, "--timeout", "20s", "--expect", "error", **environment, **debug))
        for name, process in zip(pair, running, strict=False):
            sent = json.dumps({"type": "auth_refresh", "timestamp": 1, "data": {"token": bad}})
            out, err = process.communicate(f"{sent}\n", timeout=HANG_S)
            expected = CONNECTS[name][2]
            assert process.returncode == (1 if debug and expected else expected), f"{name}: {canaries.seen_in(err)}"
            assert canaries.seen_in(f"{out}{err}") == [], name
            assert ("Traceback" in err) == bool(debug and expected), name
    assert canaries.seen_in(server.stop()) == []


def test_the_arguments_of_a_connected_client_show_no_canary(start, canaries, tmp_path):
    server = Server(start)
    (tmp_path / "good.token").write_text(canaries.good[1])
    clients = [
        start("connect", server.url, WSCTL_TOKEN=canaries.good[1]),
        start("connect", server.url, "--token-file", "good.token"),
        start("connect", server.url, "--jwt-secret-file", "jwt.secret", "--sub", "alice"),
    ]
    for client in clients:
        assert "connected as alice" in client.stderr.readline()
    running = process_list()
    assert running.count("cli.main connect") >= len(clients)
    assert canaries.seen_in(running) == []
    for client in clients:
        client.terminate()
    assert canaries.seen_in(server.stop()) == []


@pytest.mark.parametrize("debug", [{}, {"WSCTL_DEBUG": "1"}], ids=["", "WSCTL_DEBUG"])
def test_a_server_with_a_short_secret_refuses_to_start_and_does_not_show_it(start, tmp_path, debug):
    short = f"canary-{'s' * 24}"
    (tmp_path / "short.secret").write_text(short)
    process = start("serve", "--port", "0", "--jwt-secret-file", "short.secret", **debug)
    out, err = process.communicate(timeout=HANG_S)
    assert "31 bytes are too short for HS256" in err
    assert "canary" not in f"{out}{err}"
    assert process.returncode == (1 if debug else 2)


def raised(call: Callable[[], object]) -> str:
    """Return all that an exception may show of itself."""
    with pytest.raises(WsctlError) as caught:
        call()
    error = caught.value
    return "".join([repr(error), str(error), *traceback.format_exception(error, chain=True)])


async def test_no_repr_or_error_shows_a_canary(canaries):
    secret = SECRET.encode()
    key = JwtKey(secret=secret)
    guests = GuestVerifier(GuestMode.SIGNED, secret=secret)
    settings = ServerSettings(jwt_key=key, guest_secret=secret, guests=GuestMode.SIGNED)
    handler = AuthenticationHandler(JwtVerifier(key), guests, now_ms, Revocations())
    shown: list[object] = [key, guests, settings, handler, JwtVerifier(key), WebSocketServer(settings)]
    for token in canaries.all:
        headers = {"Authorization": f"Bearer {token}", "Sec-WebSocket-Protocol": as_subprotocol(token)}
        shown.append(HandshakeRequest(f"/socket.io/?token={token}&sessionId={token}", headers.items()))
        dial = DialOptions(headers=headers, subprotocols=[as_subprotocol(token)])
        shown += [dial, StaticToken(token), GuestTokens(now_ms, secret)]
        shown.append(Client(f"ws://{token}:{token}@h/?token={token}", token=StaticToken(token), dial=dial))
        shown.append(raised(partial(normalise_url, f"ftp://{token}@h/?token={token}")))
        if token in canaries.good:
            shown.append(handler.authenticate(token))
        else:
            shown.append(raised(partial(handler.authenticate, token)))
    shown.append(raised(lambda: JwtKey("RS256", public_key_pem=secret)))
    shown.append(raised(lambda: JwtKey("ES256", jwks_json=json.dumps({"keys": [SECRET]}).encode())))
    shown.append(raised(lambda: JwtKey(secret=secret[:31])))
    assert canaries.seen_in("\n".join(f"{item!r} {item!s} {item}" for item in shown)) == []

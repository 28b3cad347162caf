"""`wsctl serve --connecting-url`: a backend of another process decides, in any language, for every worker."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standardwebhooks import Webhook
from websockets.sync.client import connect

from tests.backend import SECRET
from tests.cli.conftest import HANG_S, ROOT
from tests.cli.operators import Member
from tests.cli.test_serve_workers import Serving as Workers
from wscore.guest import mint_guest_token
from wscore.tokens import mint_jwt

PAGE = (ROOT / "docs" / "webhooks.md").read_text("utf-8")
SECTION = PAGE[PAGE.index("## Who may connect") : PAGE.index("## Limits and secrets")]


@contextmanager
def deciding(decide):
    """Serve a backend that answers what `decide` makes of a client; yields its URL and what it was asked."""
    asked = []
    is_over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if is_over.is_set():
                self.close_connection = True
                return
            asked.append(Webhook(SECRET).verify(body, dict(self.headers))["data"])
            answer = json.dumps(decide(asked[-1])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/canary-path", asked
    finally:
        is_over.set()
        server.shutdown()
        server.server_close()


def greeted(url, *cookies):
    """Return what a client without a token is told first, and the close code behind that if there is one."""
    with connect(url, proxy=None, additional_headers=[("Cookie", cookie) for cookie in cookies]) as client:
        first = json.loads(client.recv(HANG_S))
        code = None
        if first["type"] == "error":
            with pytest.raises(Exception, match=r"\d{4}"):
                client.recv(HANG_S)
            code = client.close_code
        return first, code


def test_it_decides_alone_where_there_are_no_tokens_and_shows_nowhere(serving):
    with deciding(lambda asked: {"user": "ann"} if asked.get("cookie") == "c=1" else {}) as (url, asked):
        variables = {"WSCTL_CONNECTING_URL": f"{url}?k=canary", "WSCTL_WEBHOOK_SECRET": SECRET}
        server = serving("--guests", "off", **variables)
        assert greeted(server.url, "c=1")[0]["data"]["userId"] == "ann"
        assert greeted(server.url)[0]["data"]["code"] == "AUTH_REQUIRED"
        assert len(asked) == 2
        command = Path(f"/proc/{server.process.pid}/cmdline").read_text()
    refused, code = greeted_closed(server.url)
    assert (refused, code) == ("The server could not decide about the connection; try again", 1013)
    assert server.wait_for("connecting.undecided")["problem"] == "it cannot be reached"
    assert server.stop() == 0
    for secret in ("canary", SECRET, SECRET[6:], url.split(":")[2].split("/")[0]):
        assert secret not in "".join(server.lines)
        assert secret not in command


def test_the_client_goes_without_a_token_where_a_cookie_says_who_it_is(serving, wsctl):
    with deciding(lambda asked: {"user": "ann"} if asked.get("cookie") == "c=1" else {}) as (url, _):
        server = serving(WSCTL_CONNECTING_URL=url, WSCTL_WEBHOOK_SECRET=SECRET)
        talk = ("connect", server.url, "--cookie", "c=1", "--expect", "session_created", "--timeout", "20s")
        came = wsctl(*talk, "--no-token", WSCTL_TOKEN="bad")
        assert (came.returncode, json.loads(came.stdout)["data"]["userId"]) == (0, "ann"), came.stderr
        assert wsctl(*talk, "--no-token", "--sub", "bob").returncode == 2
        both = wsctl("loadtest", "heartbeat", server.url, "--no-token", "--users")
        assert (both.returncode, "--sub, --no-token and --users" in both.stderr) == (2, True)
    assert server.stop() == 0


def greeted_closed(url):
    with connect(url, proxy=None) as client:
        with pytest.raises(Exception, match="1013"):
            client.recv(HANG_S)
        return client.close_reason, client.close_code


def test_every_worker_asks(start_wsctl, redis):
    with deciding(lambda asked: {"rooms": ["hall"]}) as (url, asked):
        serving = Workers(
            start_wsctl(
                *("serve", "--port", "0", "--workers", "2", "--broker", redis.url, "--connecting-url", url),
                WSCTL_WEBHOOK_SECRET=SECRET,
            )
        )
        serving.banner()
        with ExitStack() as stack:
            members = [Member(stack, serving.url, "s", "hall") for _ in range(12)]
            assert len({member.id for member in members}) == 12
            assert len({data["server"] for data in asked}) == 2
            assert sorted(data["user"] for data in asked) == sorted(member.user for member in members)
        serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(HANG_S) == 0


def test_the_banner_says_who_decides(start_wsctl):
    options = ("--guests", "off", "--connecting-url", "http://127.0.0.1:9/")
    process = start_wsctl("serve", "--port", "0", *options, WSCTL_WEBHOOK_SECRET=SECRET)
    lines = list(iter(process.stderr.readline, "  stop:     Ctrl-C\n"))
    lines = lines[next(place for place, line in enumerate(lines) if line.startswith("wsctl serves")) :]
    assert "guests off, no JWT key" in lines[1]
    assert "a backend decides who connects (100 at once, 2000 waiting)" in lines[1]
    assert "--token-file" not in lines[3]
    assert lines[4].strip() == "the backend decides by what comes along, such as a cookie"


@pytest.mark.parametrize(
    ("options", "variables", "says"),
    [
        (["--connecting-url", "http://h/"], {}, r"--connecting-url: no secret is set .*WSCTL_WEBHOOK_SECRET.*openssl"),
        (["--connecting-url", "canary"], {"WSCTL_WEBHOOK_SECRET": SECRET}, r"--connecting-url: is not an http or"),
        (["--connecting-url", "http://h/?canary"], {"WSCTL_WEBHOOK_SECRET": SECRET}, r"set WSCTL_CONNECTING_URL, or"),
        (["--connecting-url", "http://u:canary@h/"], {"WSCTL_WEBHOOK_SECRET": SECRET}, r"has a user or a fragment"),
        (["--connecting-url", "http://h/", "--webhook-secret-file", "nope"], {}, r"file: nope: No such"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told_at_the_start(wsctl, options, variables, says):
    result = wsctl("serve", "--port", "0", *options, **variables)
    assert result.returncode == 2
    assert re.search(says, result.stderr.replace("\n", " ")), result.stderr
    assert "canary" not in result.stderr


@pytest.mark.parametrize(("language", "program"), [("python", [sys.executable]), ("js", ["node"])])
def test_the_backends_of_the_page_decide(serving, tmp_path, language, program):
    if shutil.which(program[0]) is None:
        pytest.skip("node is not installed")
    (source,) = re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "webhook.key").write_text(f"{SECRET}\n")
    file = tmp_path / f"backend.{language}"
    file.write_text(source.replace("9001", str(port)))
    with subprocess.Popen([*program, file], cwd=tmp_path, stderr=subprocess.DEVNULL) as backend:
        try:
            await_port(port)
            url = f"http://127.0.0.1:{port}/"
            server = serving("--guests", "off", "--connecting-url", url, "--webhook-secret-file", "webhook.key")
            for _ in range(2):
                greeting, _ = greeted(server.url, "login=5f0c")
                assert greeting["data"].items() >= {"userId": "ann", "isGuest": False}.items()
            error, code = greeted(server.url, "login=other")
            assert (error["data"]["code"], error["data"]["message"], code) == ("AUTH_REQUIRED", "Log in first.", 4001)
            (tmp_path / "other.key").write_text("whsec_" + "b" * 43)
            stranger = serving("--guests", "off", "--connecting-url", url, "--webhook-secret-file", "other.key")
            assert greeted_closed(stranger.url)[1] == 1013
        finally:
            backend.kill()


def await_port(port):
    for _ in range(HANG_S * 100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            threading.Event().wait(0.01)
    raise AssertionError("it does not listen")


def test_the_question_of_the_page_is_what_is_asked(serving):
    (block,) = re.findall(r"^```json\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
    shown = json.loads(block)
    with deciding(lambda asked: {}) as (url, asked):
        server = serving("--connecting-url", url, WSCTL_WEBHOOK_SECRET=SECRET, WSCTL_JWT_SECRET="j" * 32)
        token = mint_jwt(b"j" * 32, shown["data"]["claims"] | {"exp": 4_000_000_000})
        where = f"{server.url}?token={token}&sessionId=table&lang=de"
        origin = f"http://{server.url.split('/')[2]}"
        with connect(
            where,
            proxy=None,
            origin=origin,
            subprotocols=["wsctl.v1"],
            additional_headers={"Cookie": shown["data"]["cookie"]},
            user_agent_header=shown["data"]["userAgent"],
        ) as client:
            assert json.loads(client.recv(HANG_S))["type"] == "session_created"
        assert {**asked[0], "claims": shown["data"]["claims"], "origin": "", "address": ""} == {
            **shown["data"],
            "origin": "",
            "address": "",
        }


@pytest.mark.slow
def test_five_hundred_clients_a_second_are_decided_about_on_one_core(start_wsctl):
    count, together = 1500, 50
    with asked_quickly() as url:
        process = start_wsctl("serve", "--port", "0", "--connecting-url", url, WSCTL_WEBHOOK_SECRET=SECRET)
        served = next(line.split()[2] for line in process.stderr if line.startswith("wsctl serves "))
        greeted_guest(served)
        before_s = processor_s(process.pid)
        with ThreadPoolExecutor(together) as pool:
            assert all(pool.map(lambda _: greeted_guest(served), range(count)))
        per_connect_s = (processor_s(process.pid) - before_s) / count
    assert per_connect_s < 1 / 500, f"{per_connect_s * 1e6:.0f} us of the server's processor for each"


def greeted_guest(url):
    port = int(url.split(":")[2].split("/")[0])
    token = mint_guest_token(uuid.uuid4(), int(time.time() * 1000))
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
        head = f"GET /socket.io/?token={token} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        head += (
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        connection.sendall(head.encode())
        got = b""
        while b"session_created" not in got:
            more = connection.recv(4096)
            if not more:
                return False
            got += more
    return True


def processor_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def asked_quickly():
    """Serve a backend that says `{}` at once, in a process of its own; yields its URL."""
    program = (
        "import asyncio\n"
        "async def serve(r, w):\n"
        "    while head := await r.readuntil(b'\\r\\n\\r\\n'):\n"
        "        await r.readexactly(int(head.lower().split(b'content-length: ')[1].split(b'\\r\\n')[0]))\n"
        "        w.write(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}')\n"
        "async def main():\n"
        "    server = await asyncio.start_server(serve, '127.0.0.1', 0)\n"
        "    print(server.sockets[0].getsockname()[1], flush=True)\n"
        "    await server.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as backend:
        try:
            assert backend.stdout is not None
            yield f"http://127.0.0.1:{int(backend.stdout.readline())}/"
        finally:
            backend.kill()

"""The configurations of docs/proxies.md, run by the real programs in front of a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

HANG_S = 30
SECRET = "a secret for tests, 32 bytes or more"
NAME = "app.example"
CLIENT = "127.0.0.2"  # another address of this machine than the proxy's: one that is not trusted
PAGE = (Path(__file__).parents[2] / "docs" / "proxies.md").read_text("utf-8")
PATH = os.environ["PATH"] + ":/usr/sbin"  # where Debian puts servers, and not every user looks
UPSTREAM = "127.0.0.1:8765"
SOCKETS = {"nginx": "unix:{}", "caddy": "unix/{}", "haproxy": "unix@{}"}
# What surrounds the block of the page on a real machine, with everything in a folder of the test's.
NGINX_MAIN = """daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/error.log;
events {{}}
http {{
    client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
    uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
    include {0}/wsctl.conf;
}}
"""
CADDY_GLOBAL = "{\n    admin off\n    auto_https disable_redirects\n}\n"


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return text


def fill_in(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text, f"the page has no {old!r} any more"
        text = text.replace(old, new)
    return text


async def hear(ws: ClientConnection) -> str | bytes:
    return await asyncio.wait_for(ws.recv(), HANG_S)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Proxy:
    """A program in front of a server, with TLS on a port of its own."""

    def __init__(self, name: str, folder: Path, upstream: str, certificate: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self._tls = ssl.create_default_context(cafile=str(certificate.cert))
        command = getattr(self, f"_{name}")(upstream, certificate)
        home = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(folder)) | {"PATH": PATH}
        with (folder / "output").open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | home)

    def wait(self) -> None:
        """Return once the server answers through it."""
        deadline = time.monotonic() + HANG_S
        answer: object = None
        while answer != (200, "ok\n"):
            assert self.process.poll() is None, (self.folder / "output").read_text()
            assert time.monotonic() < deadline, (answer, (self.folder / "output").read_text())
            time.sleep(0.02)
            try:
                answer = self.get("/healthz")
            except OSError as error:  # it does not listen yet
                answer = error

    def get(self, path: str) -> tuple[int, str]:
        connection = HTTPSConnection(NAME, self.port, context=self._tls, timeout=HANG_S)
        connection._create_connection = lambda *_: self._dial()  # type: ignore[attr-defined]
        connection.request("GET", path)
        answer = connection.getresponse()
        try:
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def connect(self, token: str, *, origin: str | None = None, **headers: str) -> connect:
        # Not the client that works in threads: two of them share a TLS object, and one handshake in a thousand is lost.
        return connect(
            f"wss://{NAME}:{self.port}/socket.io/?token={token}",
            sock=self._dial(),
            ssl=self._tls,
            origin=origin,  # type: ignore[arg-type]
            additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
            open_timeout=HANG_S,
            proxy=None,
        )

    def _dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), HANG_S, (CLIENT, 0))

    def _nginx(self, upstream: str, certificate: Any) -> list[str]:
        replacements = {
            UPSTREAM: upstream,
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/ssl/app.example.pem": str(certificate.cert),
            "/etc/ssl/app.example.key": str(certificate.key),
            "/var/log/nginx/wsctl.log": f"{self.folder}/access.log",
        }
        (self.folder / "wsctl.conf").write_text(fill_in(block("nginx"), replacements))
        (self.folder / "nginx.conf").write_text(NGINX_MAIN.format(self.folder))
        return ["nginx", "-p", str(self.folder), "-e", f"{self.folder}/error.log", "-c", f"{self.folder}/nginx.conf"]

    def _caddy(self, upstream: str, certificate: Any) -> list[str]:
        site = f"https://{NAME}:{self.port} {{\n    tls {certificate.cert} {certificate.key}\n"
        text = fill_in(block("caddyfile"), {UPSTREAM: upstream, f"{NAME} {{\n": site})
        (self.folder / "Caddyfile").write_text(CADDY_GLOBAL + text)
        return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{self.folder}/Caddyfile"]

    def _haproxy(self, upstream: str, certificate: Any) -> list[str]:
        both = self.folder / "both.pem"
        both.write_bytes(certificate.cert.read_bytes() + certificate.key.read_bytes())
        replacements = {
            UPSTREAM: upstream,
            "bind :443": f"bind 127.0.0.1:{self.port}",
            "/etc/haproxy/app.example.pem": str(both),
        }
        (self.folder / "haproxy.cfg").write_text(fill_in(block("haproxy"), replacements))
        return ["haproxy", "-db", "-f", f"{self.folder}/haproxy.cfg"]


@pytest.fixture(params=["nginx", "haproxy", "caddy"])
def program(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name, path=PATH) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def start_proxy(program, tmp_path, make_certificate) -> Iterator[Callable[[str], Proxy]]:
    """`start_proxy(upstream)`: run the program of this test, and return once the server answers through it."""
    started: list[Proxy] = []

    def start(upstream: str) -> Proxy:
        started.append(Proxy(program, tmp_path, upstream, make_certificate(NAME)))
        started[-1].wait()
        return started[-1]

    yield start
    for proxy in started:
        proxy.process.kill()
        proxy.process.wait(HANG_S)


async def test_a_client_comes_through_with_its_address_its_origin_and_no_forgery(
    serving, start_proxy, user_token, program, tmp_path
):
    (line,) = re.findall(r"^wsctl serve (.*--profile.*) --jwt-secret-file secret.txt (.*)$", PAGE, re.MULTILINE)
    options = " ".join(line).split()
    server = serving(*options, WSCTL_JWT_SECRET=SECRET)
    proxy = start_proxy(server.url.split("/")[2])
    assert proxy.get("/healthz") == (200, "ok\n")

    token = user_token()
    own = f"https://{NAME}:{proxy.port}"
    forged = {"X_Forwarded_For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X_Forwarded_Host": "evil.example"}
    async with proxy.connect(token, origin=own, **forged) as ws:
        assert json.loads(await hear(ws))["type"] == "session_created"
        await ws.send(json.dumps({"type": "ping", "timestamp": 1, "id": "1"}))
        assert json.loads(await hear(ws))["type"] == "pong"
        opened = server.wait_for("connection.opened")
        assert (opened["peer"], opened["via"]) == (CLIENT, "127.0.0.1")

    for origin in ("https://evil.example", f"http://{NAME}:{proxy.port}"):
        async with proxy.connect(token, origin=origin, X_Forwarded_Proto="http") as ws:
            assert json.loads(await hear(ws))["data"]["code"] == "FORBIDDEN"
            with pytest.raises(ConnectionClosed) as end:
                await hear(ws)
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1008
        refused = server.wait_for("connection.refused")
        assert (refused["peer"], refused["rule"], refused["origin"]) == (CLIENT, "origin", origin)

    server.stop()
    assert not [line for line in server.lines if "server.exposed" in line]
    for file in tmp_path.iterdir():
        if file.is_file():
            assert token not in file.read_text(errors="replace"), file


async def test_a_unix_socket_leads_to_the_server_too(serving, start_proxy, user_token, program, tmp_path):
    (line,) = re.findall(r"^wsctl serve --uds \S+ (--trusted-proxy unix) --jwt", PAGE, re.MULTILINE)
    path = tmp_path / "wsctl.sock"
    server = serving("--uds", str(path), *line.split(), WSCTL_JWT_SECRET=SECRET)
    assert SOCKETS[program].format("/run/wsctl/wsctl.sock") in PAGE
    proxy = start_proxy(SOCKETS[program].format(path))
    async with proxy.connect(user_token(), origin=f"https://{NAME}:{proxy.port}", X_Forwarded_For="203.0.113.9") as ws:
        assert json.loads(await hear(ws))["type"] == "session_created"
        opened = server.wait_for("connection.opened")
    assert (opened["peer"], opened["via"]) == (CLIENT, "unix")


def test_the_page_waits_longer_than_the_heartbeat_by_default():
    from wscore.heartbeat import HeartbeatPolicy

    interval_s = HeartbeatPolicy().interval_ms / 1000
    waits = re.findall(r"proxy_(?:read|send)_timeout (\d+)s|timeout (?:client|server|tunnel) (\d+)s", PAGE)
    assert len(waits) == 5
    assert all(int(a or b) > 2 * interval_s for a, b in waits)
    assert f"({interval_s:g} s)" in PAGE

"""The handshake as a person sees it: what was asked and answered, why it failed, and which option helps."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

HANG_S = 30
PATH = os.environ["PATH"] + ":/usr/sbin"  # where Debian puts servers, and not every user looks
NGINX = shutil.which("nginx", path=PATH)
CONNECT = ("--send", '{"type":"x"}', "--count", "1", "--timeout", "20s")
NGINX_CONF = """daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
    uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
    server {{
        listen 127.0.0.1:{1};
        location = /basic {{ auth_basic "the back room"; auth_basic_user_file {0}/users; proxy_pass http://{3};
            proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}
        location = /forbidden {{ return 403; }}
        location = /slow {{ add_header Retry-After 7 always; default_type text/plain; return 429 "slow down\\n"; }}
        location = /gone {{ proxy_pass http://127.0.0.1:1; }}
    }}
    server {{
        listen 127.0.0.1:{2} ssl;
        ssl_certificate {4}; ssl_certificate_key {5}; ssl_client_certificate {6}; ssl_verify_client on;
        location / {{ proxy_pass http://{3};
            proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }}
    }}
}}
"""


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


@contextmanager
def echoing(**options: Any) -> Iterator[int]:
    """Run a plain echo server that greets with its first frame; yields its port."""

    def talk(connection: Any) -> None:
        connection.send('{"type":"hello"}')
        with suppress(ConnectionClosed):
            for message in connection:
                connection.send(message)

    with serve(talk, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def echo() -> Iterator[int]:
    with echoing() as port:
        yield port


class Nginx:
    def __init__(self, port: int, tls_port: int, server: Any, client: Any) -> None:
        self.port = port
        self.tls_port = tls_port
        self.server = server
        self.client = client


@pytest.fixture
def nginx(tmp_path: Path, echo: int, make_certificate: Callable[..., Any]) -> Iterator[Nginx]:
    if NGINX is None:
        pytest.skip("nginx is not installed")
    server, client = make_certificate("127.0.0.1"), make_certificate("a client")
    found = Nginx(free_port(), free_port(), server, client)
    password = subprocess.run(["openssl", "passwd", "-apr1", "s3cret-pass"], capture_output=True, text=True, check=True)
    (tmp_path / "users").write_text(f"alice:{password.stdout}")
    conf = tmp_path / "nginx.conf"
    upstream = f"127.0.0.1:{echo}"
    conf.write_text(
        NGINX_CONF.format(tmp_path, found.port, found.tls_port, upstream, server.cert, server.key, client.cert)
    )
    with (tmp_path / "output").open("wb") as output:
        words = [NGINX, "-p", str(tmp_path), "-e", f"{tmp_path}/error.log", "-c", str(conf)]
        process = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + HANG_S
        while True:
            assert process.poll() is None, (tmp_path / "output").read_text()
            assert time.monotonic() < deadline
            try:
                for port in (found.port, found.tls_port):
                    socket.create_connection(("127.0.0.1", port), HANG_S).close()
            except OSError:
                time.sleep(0.02)  # until it listens
            else:
                break
        yield found
    finally:
        process.terminate()
        process.wait(HANG_S)


@pytest.fixture
def chat() -> Iterator[int]:
    with echoing(subprotocols=["chat.v2", "chat.v1"]) as port:
        yield port


def test_a_handshake_is_told_with_its_headers_and_what_was_agreed_on(wsctl, chat):
    url = f"ws://127.0.0.1:{chat}/chat?api_key=s3cret-key"
    secrets = (
        "-H",
        "X-Api-Key: s3cret-a",
        "-H",
        "X-Trace: 17",
        "--cookie",
        "sid=s3cret-b",
        "--cookie",
        "theme=s3cret-c",
    )
    done = wsctl(
        *("connect", url, "-v", "-u", "alice:s3cret-d", *secrets),
        *("--subprotocol", "other", "--subprotocol", "chat.v1", *CONNECT),
    )
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert told[0] == f"* connecting to ws://127.0.0.1:{chat}/chat?api_key=[redacted]"
    assert any(line.startswith("> GET /chat?api_key=[redacted]") and line.endswith(" HTTP/1.1") for line in told)
    for line in (
        f"> Host: 127.0.0.1:{chat}",
        "> Authorization: Basic [redacted]",
        "> X-Api-Key: [redacted]",
        "> X-Trace: 17",
        "> Cookie: sid=[redacted]; theme=[redacted]",
        "> Sec-WebSocket-Protocol: other, chat.v1",
        "< HTTP/1.1 101 Switching Protocols",
        "< Sec-WebSocket-Protocol: chat.v1",
        "* subprotocol: chat.v1",
        "* extensions: permessage-deflate",
    ):
        assert line in told, done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert "> " not in wsctl("connect", url, *CONNECT).stderr  # only who asks is told


def test_a_refusal_is_told_with_its_body_and_the_option_that_helps(wsctl, nginx):
    url = f"ws://127.0.0.1:{nginx.port}"
    refused = wsctl("connect", f"{url}/basic", "-v", *CONNECT)
    assert refused.returncode == 4
    told = refused.stderr.splitlines()
    assert '< WWW-Authenticate: Basic realm="the back room"' in told
    assert "< HTTP/1.1 401 Unauthorized" in told
    assert any("401 Authorization Required" in line for line in told if line.startswith("< <"))
    assert told[-1] == (
        f"wsctl: cannot connect to {url}/basic: the server answered HTTP 401 Unauthorized: Authorization Required; "
        "give a user by -u"
    )
    for given, variables in (
        (("-u", "alice:s3cret-pass"), {}),
        ((), {"WSCTL_USER": "alice:s3cret-pass"}),
    ):
        let_in = wsctl("connect", f"{url}/basic", *given, *CONNECT, **variables)
        assert let_in.returncode == 0, let_in.stderr
    wrong = wsctl("connect", f"{url}/basic", "-u", "alice:s3cret-wrong", *CONNECT)
    assert (wrong.returncode, "s3cret" in wrong.stderr) == (4, False)
    forbidden = wsctl("connect", f"{url}/forbidden", *CONNECT)
    assert (forbidden.returncode, "HTTP 403 Forbidden; give what lets you in" in forbidden.stderr) == (4, True)
    slow = wsctl("connect", f"{url}/slow", "-v", *CONNECT)
    assert slow.returncode == 3
    assert "< Retry-After: 7" in slow.stderr.splitlines()
    assert "HTTP 429 Too Many Requests: slow down; it asks to wait 7s" in slow.stderr
    gone = wsctl("connect", f"{url}/gone", *CONNECT)
    assert (gone.returncode, "HTTP 502 Bad Gateway" in gone.stderr) == (3, True)


def test_a_password_comes_from_a_file_or_is_missing(wsctl, nginx, tmp_path):
    url = f"ws://127.0.0.1:{nginx.port}/basic"
    file = tmp_path / "alice"
    file.write_text("alice:s3cret-pass\n")
    assert wsctl("connect", url, "--user-file", str(file), *CONNECT).returncode == 0
    missing = wsctl("connect", url, "-u", "alice", *CONNECT)
    assert (missing.returncode, "--user: has no password" in missing.stderr) == (2, True)
    twice = wsctl("connect", url, "--user-file", str(file), "-u", "alice:x", *CONNECT)
    assert (twice.returncode, "--user-file is given too" in twice.stderr) == (2, True)
    empty = wsctl("connect", url, *CONNECT, WSCTL_USER="")
    assert (empty.returncode, "WSCTL_USER: is set but empty" in empty.stderr) == (2, True)


def test_a_certificate_of_the_client_is_asked_for_by_name_and_then_helps(wsctl, nginx):
    url = f"wss://127.0.0.1:{nginx.tls_port}/"
    trusting = ("--ca", str(nginx.server.cert))
    refused = wsctl("connect", url, *trusting, *CONNECT)
    assert refused.returncode == 4
    assert "--cert" in refused.stderr.splitlines()[-1]
    shown = ("--cert", str(nginx.client.cert), "--key", str(nginx.client.key))
    done = wsctl("connect", url, "-v", *trusting, *shown, *CONNECT)
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert any(re.fullmatch(r"\* TLS: TLSv1\.[23], \S+", line) for line in told), done.stderr
    assert "* certificate subject: CN=127.0.0.1" in told
    assert "* certificate for: 127.0.0.1, 127.0.0.1" in told
    assert "* certificate issuer: CN=127.0.0.1" in told
    assert any(re.match(r"\* certificate valid: 20\d\d-.* to 20\d\d-.* UTC", line) for line in told)
    other = wsctl("connect", url, *trusting, "--cert", str(nginx.client.cert), "--key", str(nginx.server.key), *CONNECT)
    assert (other.returncode, "belongs to another certificate" in other.stderr) == (2, True)
    alone = wsctl("connect", url, *trusting, "--key", str(nginx.client.key), *CONNECT)
    assert (alone.returncode, "--key: there is no --cert" in alone.stderr) == (2, True)
    none = wsctl("connect", url, *trusting, "--cert", "none.pem", *CONNECT)
    assert (none.returncode, "--cert: none.pem: there is no such file" in none.stderr) == (2, True)


def test_a_certificate_that_is_not_trusted_is_shown_nevertheless(wsctl, serving, make_certificate):
    made = make_certificate("127.0.0.1")
    server = serving("--tls-cert", str(made.cert), "--tls-key", str(made.key))
    refused = wsctl("connect", server.url, "-v", *CONNECT)
    assert refused.returncode == 3
    assert "* certificate issuer: CN=127.0.0.1" in refused.stderr.splitlines()
    assert "trust it with --ca FILE" in refused.stderr.splitlines()[-1]


@contextmanager
def proxying(*, user: str = "", is_socks: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Run a proxy by HTTP's CONNECT or by SOCKS 5; yields its port and where it was asked to connect to."""
    asked: list[str] = []
    wanted = f"Basic {base64.b64encode(user.encode()).decode()}"
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        place = head.split(" ", 2)[1]
        if user and f"Proxy-Authorization: {wanted}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        asked.append(place)
        host, _, port = place.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer))

    async def handle_socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)  # RFC 1928
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        *_, kind = await reader.readexactly(4)
        size = 4 if kind == 1 else (await reader.readexactly(1))[0]
        address = await reader.readexactly(size)
        host = socket.inet_ntoa(address) if kind == 1 else address.decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        asked.append(f"{host}:{port}")
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = loop.run_until_complete(asyncio.start_server(handle_socks if is_socks else handle, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:

        async def end() -> None:
            server.close()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(HANG_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_proxy_is_gone_through_and_named(wsctl, echo):
    url = f"ws://127.0.0.1:{echo}/"
    with proxying(user="bob:s3cret") as (port, asked):
        through = wsctl("connect", url, "-v", *CONNECT, WSCTL_PROXY=f"http://bob:s3cret@127.0.0.1:{port}")
        assert through.returncode == 0, through.stderr
        assert asked == [f"127.0.0.1:{echo}"]
        assert f"through the proxy http://[redacted]@127.0.0.1:{port}" in through.stderr
        assert "s3cret" not in through.stderr
        stranger = wsctl("connect", url, "--proxy", f"http://127.0.0.1:{port}", *CONNECT)
        assert stranger.returncode == 4
        assert f"the proxy http://127.0.0.1:{port} answered HTTP 407" in stranger.stderr
        assert "put USER:PASSWORD@ before the host of --proxy" in stranger.stderr
        # The environment's proxy is for other machines, and `none` for no one.
        there = {"http_proxy": f"http://127.0.0.1:{port}"}
        assert wsctl("connect", url, *CONNECT, **there).returncode == 0
        assert len(asked) == 1
    dead = wsctl("connect", url, "--proxy", f"http://127.0.0.1:{port}", *CONNECT)
    assert dead.returncode == 3
    assert f"the proxy http://127.0.0.1:{port} cannot be reached: connection refused" in dead.stderr


def test_the_proxy_of_the_environment_is_named_in_an_error(wsctl):
    port = free_port()
    proxied = {"http_proxy": f"http://127.0.0.1:{port}", "no_proxy": ""}
    dead = wsctl("connect", "ws://wsctl.invalid/", *CONNECT, **proxied)
    assert dead.returncode == 3
    assert f"the proxy http://127.0.0.1:{port} cannot be reached: connection refused" in dead.stderr
    straight = wsctl("connect", "ws://wsctl.invalid/", "--proxy", "none", *CONNECT, **proxied)
    assert (straight.returncode, "proxy" in straight.stderr) == (3, False)


def test_a_socks_proxy_gets_the_name_to_look_up(wsctl, echo):
    with proxying(is_socks=True) as (port, asked):
        url = f"ws://wsctl.invalid:{echo}/"  # which only the proxy knows
        through = wsctl("connect", url, "-v", "--proxy", f"socks5h://127.0.0.1:{port}", *CONNECT)
        assert through.returncode == 0, through.stderr
        assert asked == [f"wsctl.invalid:{echo}"]
        assert f"through the proxy socks5h://127.0.0.1:{port}" in through.stderr
    dead = wsctl("connect", url, "--proxy", f"socks5h://127.0.0.1:{port}", *CONNECT)
    assert (dead.returncode, f"the proxy socks5h://127.0.0.1:{port} cannot be reached" in dead.stderr) == (3, True)


@pytest.mark.parametrize("proxy", ["ftp://h:1", "127.0.0.1:3128", "http://h", "http://bob@h:1", "http://h:x"])
def test_what_is_no_proxy_is_refused(wsctl, proxy):
    refused = wsctl("connect", "ws://127.0.0.1:1/", "--proxy", proxy, *CONNECT)
    assert (refused.returncode, refused.stderr.startswith("wsctl: --proxy: ")) == (2, True)


def test_a_host_without_a_scheme_and_a_path_is_dialled_as_it_stands(wsctl, echo):
    done = wsctl("connect", f"localhost:{echo}", "-v", *CONNECT)
    assert done.returncode == 0, done.stderr
    assert f"* connecting to ws://localhost:{echo}/" in done.stderr.splitlines()


def test_a_message_over_the_size_and_a_server_that_does_not_answer_end_it(wsctl, echo):
    large = '{"type":"x","data":"' + "y" * 3000 + '"}'
    over = wsctl(
        "connect", f"localhost:{echo}", "--max-size", "1KiB", "--send", large, "--count", "2", "--timeout", "20s"
    )
    assert (over.returncode, "exceeds limit of 1024 bytes; --max-size lets" in over.stderr) == (1, True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
        late = wsctl("connect", url, "--handshake-timeout", "200ms", *CONNECT)
    assert (late.returncode, "no answer within 0.2 s" in late.stderr) == (3, True)


def test_replay_takes_the_options_of_a_connection(wsctl, nginx, tmp_path):
    recording = tmp_path / "talk.jsonl"
    recording.write_text('{"type":"x","timestamp":1,"sentAtMs":1}\n')
    url = f"ws://127.0.0.1:{nginx.port}/basic"
    done = wsctl("replay", str(recording), url, "-v", "-u", "alice:s3cret-pass", "--max-size", "1MiB")
    assert done.returncode == 0, done.stderr
    assert "> Authorization: Basic [redacted]" in done.stderr.splitlines()
    assert "s3cret" not in done.stderr

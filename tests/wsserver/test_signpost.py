"""What the port says at `/` and at a wrong path: what this is, and how to connect."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from wsclient import Client, HandshakeRefusedError

HANG_S = 60
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSER = "text/html,application/xhtml+xml;q=0.9"


async def ask(url: str, path: str = "/", *, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    lines = [f"{name}: {value}" for name, value in {"Host": parts.netloc, **headers}.items()]
    writer.write("\r\n".join((f"{method} {path} HTTP/1.1", *lines, "", "")).encode())
    received = await asyncio.wait_for(reader.read(), HANG_S)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    head, _, body = received.decode().partition("\r\n\r\n")
    first, *rest = head.split("\r\n")
    return int(first.split(" ")[1]), dict(line.lower().split(": ", 1) for line in rest), body


async def test_the_root_says_how_to_connect_in_a_line_or_on_a_page(start_server, engine):
    server = await start_server(engine=engine, path="/live/")
    status, headers, words = await ask(server.url)
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert words == f"A WebSocket server. Connect by: wsctl connect {server.url}\n"
    status, headers, page = await ask(server.url, Accept=BROWSER)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"<pre>wsctl connect {server.url}</pre>" in page
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"(?i)src=|href=|<script|@import|url\(|http", page)  # it loads nothing from anywhere
    assert (await ask(server.url, method="HEAD", Accept=BROWSER))[2] == ""


async def test_a_host_that_is_none_does_not_come_onto_the_page(start_server, engine):
    server = await start_server(engine=engine)
    for host in ('"><script>alert(1)</script>', "a b", "x/y", ""):
        _, _, page = await ask(server.url, Accept=BROWSER, Host=host)
        assert "<pre>wsctl connect ws://HOST:PORT/socket.io/</pre>" in page
    _, _, page = await ask(server.url, Accept=BROWSER, Host="app.example:9000")
    assert "wsctl connect ws://app.example:9000/socket.io/" in page


async def test_with_tls_it_says_wss(start_server, engine, make_certificate):
    made = make_certificate("127.0.0.1")
    server = await start_server(engine=engine, tls_cert=made.cert, tls_key=made.key)
    import ssl

    context = ssl.create_default_context(cafile=str(made.cert))
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    writer.write(f"GET / HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.readuntil(b"socket.io/\n"), HANG_S)
    assert f"wsctl connect wss://{parts.netloc}/socket.io/".encode() in answer
    writer.close()


@pytest.mark.parametrize("path", ["/", "/chat"])
async def test_an_upgrade_at_the_wrong_path_names_the_right_one(start_server, engine, path):
    server = await start_server(engine=engine)
    parts = urlsplit(server.url)
    client = Client(f"ws://{parts.netloc}{path}", reconnect=None)
    with pytest.raises(HandshakeRefusedError) as refused:
        await client.connect()
    assert refused.value.status == 404
    assert str(refused.value).endswith("HTTP 404 Not Found: no WebSocket at this path: it is at /socket.io/")


async def test_an_endpoint_at_the_root_stays_one(start_server, engine):
    server = await start_server(engine=engine, path="/")
    assert (await ask(server.url))[0] == 426
    async with Client(server.url) as client:
        assert client.session is not None


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_a_browser_shows_the_page_with_its_style(start_server, engine, tmp_path):
    server = await start_server(engine=engine)
    parts = urlsplit(server.url)
    assert CHROMIUM is not None
    browser = await asyncio.create_subprocess_exec(
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"),
        *("--enable-logging=stderr", "--v=0", "--dump-dom", f"http://{parts.netloc}/"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    page, told = await asyncio.wait_for(browser.communicate(), HANG_S)
    assert f"<pre>wsctl connect {server.url}</pre>" in page.decode()
    assert b"Content Security Policy" not in told  # which it says of a style whose hash is another

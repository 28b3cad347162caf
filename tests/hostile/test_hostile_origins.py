"""Forged, doubled and disguised Origin headers on a raw socket: what no page of ours sends gets FORBIDDEN and 1008."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from wsserver.settings import Profile

HANG_S = 20
HOST = "app.example:8765"
OWN = f"http://{HOST}"
PROFILES = [Profile.DEV, Profile.PROD]


class Page:
    """Opens a WebSocket as a browser would, with the headers that the test names."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str, token: str, headers: Sequence[str], *, status: int = 101) -> Page:
        parts = urlsplit(url)
        page = cls(*await asyncio.open_connection(parts.hostname, parts.port))
        lines = [
            f"GET {parts.path}?token={token} HTTP/1.1",
            *headers,
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        page._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(HANG_S):
            head = await page._reader.readuntil(b"\r\n\r\n")
        # What a page can send is accepted first: it learns the reason only after the handshake.
        assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
        return page

    async def left_over(self) -> int:
        """Read to the end; returns how many answers came behind the first one."""
        async with asyncio.timeout(HANG_S):
            rest = await self._reader.read()
        self._writer.close()
        return rest.count(b"HTTP/1.1 ")

    async def outcome(self) -> tuple[str, int | None]:
        """Return ("session_created", None), or the error's code and the close code behind it; nothing else may come."""
        async with asyncio.timeout(HANG_S):
            opcode, payload = await self._frame()
            assert opcode == 0x1
            envelope: dict[str, Any] = json.loads(payload)
            if envelope["type"] == "session_created":
                self._writer.close()
                return "session_created", None
            opcode, payload = await self._frame()
            assert opcode == 0x8
            self._writer.close()
            return envelope["data"]["code"], int.from_bytes(payload[:2], "big")

    async def _frame(self) -> tuple[int, bytes]:
        first, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        return first & 0xF, await self._reader.readexactly(size)


def origin_lines(*origins: str) -> list[str]:
    return [f"Host: {HOST}", *(f"Origin: {origin}" for origin in origins)]


REFUSED = {
    "none at all": "null",
    "null in capitals": "NULL",
    "empty": "",
    "any": "*",
    "a host alone": HOST,
    "no host": "http://",
    "a page of a file": "file://",
    "our host in front of another": "http://app.example.evil.com:8765",
    "our host and port in front of another": "http://app.example:8765.evil.com",
    "our host at the end of another": "http://evilapp.example:8765",
    "a host below ours": "http://sub.app.example:8765",
    "the host above ours": "http://example:8765",
    "our host with a dot behind it": "http://app.example.:8765",
    "our host in other letters": "http://\u0430pp.example:8765",
    "our host in wide letters": "http://\uff41pp.example:8765",
    "our host in percents": "http://%61pp.example:8765",
    "another port": "http://app.example:8766",
    "our port written twice": "http://app.example:8765:8765",
    "a port out of range": "http://app.example:74301",
    "no port": "http://app.example",
    "a user": "https://user@app.example:8765",
    "a user and a password": "http://user:pass@app.example:8765",
    "ours as the user": "http://app.example:8765@evil.com",
    "a path": "http://app.example:8765/",
    "ours in the path": "http://evil.com/http://app.example:8765",
    "ours in the query": "http://evil.com?http://app.example:8765",
    "ours in the fragment": "http://evil.com#http://app.example:8765",
    "a backslash": "http://app.example:8765\\.evil.com",
    "a tab": "http://app.example\t:8765",
    "a list": f"{OWN} http://evil.com",
    "a list with commas": f"{OWN}, {OWN}",
    "half an address": "http://[::1",
    "this machine in front of another": "http://localhost.evil.com",
    "this machine's address in front of another": "http://127.0.0.1.evil.com",
    "this machine as the user": "http://localhost@evil.com",
    "this machine as a number": "http://2130706433",
    "this machine in short": "http://127.1",
    "this machine in wide letters": "http://\uff4cocalhost",
    "this machine with a path": "http://localhost/",
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("origin", REFUSED.values(), ids=REFUSED)
async def test_a_forged_origin_is_forbidden_in_both_profiles(start_server, guest_token, engine, profile, origin):
    server = await start_server(engine=engine, profile=profile)
    page = await Page.open(server.url, guest_token(), origin_lines(origin))
    assert await page.outcome() == ("FORBIDDEN", 1008)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "headers",
    [
        [f"Host: {HOST}"],  # a program
        origin_lines(OWN),
        origin_lines(f"https://{HOST}"),  # behind a proxy that ends TLS
        origin_lines(f"HTTP://{HOST.upper()}"),
        ["Host: APP.Example:8765", f"Origin: {OWN}"],
        ["host: app.example:80", "oRiGiN: http://app.example"],
    ],
    ids=["no origin", "own", "own over TLS", "own in capitals", "a host in capitals", "the default port"],
)
async def test_a_page_of_the_own_host_may_connect(start_server, guest_token, engine, profile, headers):
    server = await start_server(engine=engine, profile=profile)
    page = await Page.open(server.url, guest_token(), headers)
    assert await page.outcome() == ("session_created", None)


@pytest.mark.parametrize("origin", ["http://localhost:5173", "HTTPS://LocalHost", "http://127.0.0.1:1", "http://[::1]"])
async def test_only_the_dev_profile_takes_a_page_of_this_machine(start_server, guest_token, engine, origin):
    outcomes = []
    for profile in PROFILES:
        server = await start_server(engine=engine, profile=profile)
        page = await Page.open(server.url, guest_token(), origin_lines(origin))
        outcomes.append(await page.outcome())
    assert outcomes == [("session_created", None), ("FORBIDDEN", 1008)]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "origins",
    [(OWN, OWN), (OWN, "http://evil.com"), ("http://evil.com", OWN), ("null", "http://localhost")],
    ids=["ours twice", "ours first", "ours last", "null first"],
)
async def test_two_origins_are_no_request_of_a_page_at_all(start_server, guest_token, engine, profile, origins):
    server = await start_server(engine=engine, profile=profile)
    page = await Page.open(server.url, guest_token(), origin_lines(*origins), status=400)
    assert await page.left_over() == 0


@pytest.mark.parametrize("profile", PROFILES)
async def test_an_allow_list_shuts_out_forgeries_and_the_own_host(start_server, guest_token, engine, profile):
    server = await start_server(engine=engine, profile=profile, origins=("https://front.example",))
    outcomes = {}
    for origin in (
        "https://front.example",
        "HTTPS://FRONT.example:443",
        "http://front.example",
        "https://front.example.evil.com",
        "https://evilfront.example",
        "https://front.example:444",
        "null",
        OWN,
    ):
        page = await Page.open(server.url, guest_token(), origin_lines(origin))
        outcomes[origin] = (await page.outcome())[0]
    assert [origin for origin, outcome in outcomes.items() if outcome == "session_created"] == [
        "https://front.example",
        "HTTPS://FRONT.example:443",
    ]


async def test_a_forged_origin_is_refused_before_the_token_is_looked_at(start_server, engine):
    server = await start_server(engine=engine, profile=Profile.PROD)
    page = await Page.open(server.url, "nonsense", origin_lines("http://evil.com"))
    assert await page.outcome() == ("FORBIDDEN", 1008)

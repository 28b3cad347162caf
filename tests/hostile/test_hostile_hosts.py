"""DNS rebinding on a raw socket: on this machine only its own name, addresses and allowed names are served."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from wscore.errors import ConfigError
from wsserver.handshake.hosts import HostPolicy
from wsserver.settings import Profile

SESSION = ("session_created", None)
FORBIDDEN = ("FORBIDDEN", 1008)

REBOUND = [
    "evil.example",
    "evil.example:8765",
    "EVIL.example",
    "evil.example.",
    "localhost.evil.example",
    "localhost.evil.example:8765",
    "127.0.0.1.nip.io",
    "127.0.0.1.nip.io:8765",
    "127.0.0.1.",
    "evil.example:127.0.0.1",
    "evil.example@localhost",
    "localhost@evil.example",
    "localhost:8765@evil.example",
    "localhost:evil.example",
    "localhost, evil.example",
    "localhost evil.example",
    "localhost/evil.example",
    "notlocalhost",
    "app.localhost",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "[evil.example]",
    "[::1].evil.example",
    "[::1]evil.example",
    "[::1",
    "::1",
    "[::1%25evil.example]",
    "",
    "\u0131ocalhost",
]
OWN = [
    "localhost",
    "localhost:8765",
    "LocalHost:80",
    "127.0.0.1",
    "127.0.0.1:8765",
    "127.8.8.8",
    "192.168.1.5:1234",
    "[::1]",
    "[::1]:8765",
    "[FE80::1]",
    "[::ffff:127.0.0.1]:80",
]


def lines(host: str, origin: str | None = None) -> list[str]:
    return [f"Host: {host}", f"Origin: http://{host if origin is None else origin}"]


@pytest.mark.parametrize("host", REBOUND)
async def test_a_page_whose_name_points_to_this_machine_gets_no_session(start_server, open_page, engine, host):
    server = await start_server(engine=engine)
    for headers in (lines(host), lines(host, "localhost"), [f"Host: {host}"]):
        assert await (await open_page(server.url, headers)).outcome() == FORBIDDEN
    assert len(server.connections) == 0


@pytest.mark.parametrize("host", OWN)
async def test_this_machine_and_addresses_are_served_at_any_port(start_server, open_page, engine, host):
    server = await start_server(engine=engine)
    for headers in (lines(host), [f"Host: {host}"]):
        assert await (await open_page(server.url, headers)).outcome() == SESSION


@pytest.mark.parametrize("profile", Profile)
async def test_a_name_is_served_once_it_is_allowed_by_itself_or_with_its_origin(
    start_server, open_page, engine, profile
):
    server = await start_server(engine=engine, profile=profile, allowed_hosts=["App.example"])
    assert await (await open_page(server.url, lines("app.EXAMPLE:8765"))).outcome() == SESSION
    assert await (await open_page(server.url, lines("sub.app.example"))).outcome() == FORBIDDEN
    assert await (await open_page(server.url, lines("app.example", "evil.example"))).outcome() == FORBIDDEN
    origins = ["https://app.example", "http://[::1]:5173"]
    server = await start_server(engine=engine, profile=profile, origins=origins)
    headers = ["Host: app.example", "Origin: https://app.example"]
    assert await (await open_page(server.url, headers)).outcome() == SESSION
    assert await (await open_page(server.url, ["Host: evil.example", *headers[1:]])).outcome() == FORBIDDEN


async def test_where_any_page_may_connect_any_host_is_served(start_server, open_page, engine):
    server = await start_server(engine=engine, origins=["*"])
    assert await (await open_page(server.url, lines("evil.example"))).outcome() == SESSION


async def test_on_the_network_every_name_is_served_until_some_are_listed(start_server, open_page, engine):
    for allowed, outcome in ((), SESSION), (["app.example"], FORBIDDEN):
        server = await start_server(engine=engine, host="0.0.0.0", allowed_hosts=allowed)
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert await (await open_page(url, lines("other.example"))).outcome() == outcome
        assert await (await open_page(url, lines("app.example"))).outcome() == SESSION
        assert await (await open_page(url, lines("127.0.0.1"))).outcome() == SESSION


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("evil.example", "localhost"), ()])
async def test_several_hosts_and_none_are_a_bad_request(start_server, open_page, engine, hosts):
    server = await start_server(engine=engine)
    page = await open_page(server.url, [f"Host: {host}" for host in hosts], status=400)
    assert await page.left_over() == 0


async def test_the_echo_is_no_way_around_the_host_and_the_origin(start_server, open_page, engine, caplog):
    caplog.set_level("INFO", "wsctl")
    server = await start_server(engine=engine, echo_path="/echo")
    url = server.url.replace("/socket.io/", "/echo")
    for headers in (lines("evil.example"), lines("localhost", "evil.example")):
        assert await (await open_page(url, headers)).outcome() == ("", 1008)
    events = [record.getMessage() for record in caplog.records]
    assert events.count("echo.refused") == 2
    assert "echo.opened" not in events


@pytest.mark.parametrize("header", ["Host: evil.example\r\n", "Host:\r\n", ""])
async def test_a_health_check_needs_no_host_of_ours(start_server, engine, header):
    server = await start_server(engine=engine)
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET /healthz HTTP/1.1\r\n{header}\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert answer.endswith(b"ok\n")
    writer.close()


async def test_a_refusal_is_logged_with_the_host_and_how_to_allow_it(start_server, open_page, engine, caplog):
    caplog.set_level("INFO", "wsctl")
    server = await start_server(engine=engine)
    await (await open_page(server.url, lines("Evil.example:8765"))).outcome()
    await (await open_page(server.url, lines("evil.example;reboot"))).outcome()
    await (await open_page(server.url, lines("x" * 2000))).outcome()
    named, odd, long = (record.fields for record in caplog.records if record.message == "connection.refused")
    assert (named["rule"], named["host"]) == ("host", "Evil.example:8765")
    assert named["mend"] == "--allowed-host evil.example"
    assert odd["host"] == "evil.example;reboot"
    assert "mend" not in odd
    assert len(long["host"]) == 200


@pytest.mark.parametrize("name", ["app.example:80", "https://app.example", "*", "", "a b", "[::1]"])
def test_an_allowed_host_that_is_no_name_is_an_error(name):
    with pytest.raises(ConfigError, match="--allowed-host: "):
        HostPolicy([name])

"""Forged, doubled and disguised Origin headers on a raw socket: what no page of ours sends gets FORBIDDEN and 1008."""

from __future__ import annotations

import pytest

from wsserver.settings import Profile

NAME = "app.example"
HOST = f"{NAME}:8765"
OWN = f"http://{HOST}"
PROFILES = [Profile.DEV, Profile.PROD]


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
async def test_a_forged_origin_is_forbidden_in_both_profiles(start_server, open_page, engine, profile, origin):
    server = await start_server(engine=engine, profile=profile, allowed_hosts=[NAME])
    page = await open_page(server.url, origin_lines(origin))
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
async def test_a_page_of_the_own_host_may_connect(start_server, open_page, engine, profile, headers):
    server = await start_server(engine=engine, profile=profile, allowed_hosts=[NAME])
    page = await open_page(server.url, headers)
    assert await page.outcome() == ("session_created", None)


@pytest.mark.parametrize("origin", ["http://localhost:5173", "HTTPS://LocalHost", "http://127.0.0.1:1", "http://[::1]"])
async def test_only_the_dev_profile_takes_a_page_of_this_machine(start_server, open_page, engine, origin):
    outcomes = []
    for profile in PROFILES:
        server = await start_server(engine=engine, profile=profile, allowed_hosts=[NAME])
        page = await open_page(server.url, origin_lines(origin))
        outcomes.append(await page.outcome())
    assert outcomes == [("session_created", None), ("FORBIDDEN", 1008)]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "origins",
    [(OWN, OWN), (OWN, "http://evil.com"), ("http://evil.com", OWN), ("null", "http://localhost")],
    ids=["ours twice", "ours first", "ours last", "null first"],
)
async def test_two_origins_are_no_request_of_a_page_at_all(start_server, open_page, engine, profile, origins):
    server = await start_server(engine=engine, profile=profile, allowed_hosts=[NAME])
    page = await open_page(server.url, origin_lines(*origins), status=400)
    assert await page.left_over() == 0


@pytest.mark.parametrize("profile", PROFILES)
async def test_an_allow_list_shuts_out_forgeries_and_the_own_host(start_server, open_page, engine, profile):
    server = await start_server(
        engine=engine, profile=profile, allowed_hosts=[NAME], origins=("https://front.example",)
    )
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
        page = await open_page(server.url, origin_lines(origin))
        outcomes[origin] = (await page.outcome())[0]
    assert [origin for origin, outcome in outcomes.items() if outcome == "session_created"] == [
        "https://front.example",
        "HTTPS://FRONT.example:443",
    ]


async def test_a_forged_origin_is_refused_before_the_token_is_looked_at(start_server, open_page, engine):
    server = await start_server(engine=engine, profile=Profile.PROD, allowed_hosts=[NAME])
    page = await open_page(server.url, origin_lines("http://evil.com"), token="nonsense")
    assert await page.outcome() == ("FORBIDDEN", 1008)

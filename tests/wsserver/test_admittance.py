"""Who gets in and who does not: tokens, origins, sessions and limits, over a socket."""

from __future__ import annotations

import base64
import uuid

import pytest

from wscore.errors import ConfigError
from wscore.guest import GuestMode, mint_guest_token
from wscore.tokens import mint_jwt
from wsserver.connections.sender import EnvelopeSender
from wsserver.connections.sessions import SessionJoin
from wsserver.engines.request import HandshakeRequest
from wsserver.handshake.limits import ConnectionLimits
from wsserver.handshake.origins import OriginPolicy
from wsserver.settings import Profile

SECRET = b"a secret for tests, 32 bytes or more"
DAY_MS = 24 * 60 * 60 * 1000


@pytest.fixture
def now_ms():
    import time

    return time.time_ns() // 1_000_000


async def refusal(client) -> tuple[str | None, int]:
    envelopes, code, _ = await client.received_until_closed()
    errors = [envelope["data"]["code"] for envelope in envelopes if envelope["type"] == "error"]
    return (errors[0] if errors else None), code


async def test_auth_required_without_a_token(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    assert await refusal(await open_raw(server.url, token=None, greet=False)) == ("AUTH_REQUIRED", 4001)


async def test_auth_invalid_for_a_malformed_token(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    assert await refusal(await open_raw(server.url, token="guest_nonsense", greet=False)) == ("AUTH_INVALID", 4001)


async def test_auth_invalid_for_a_jwt_where_no_key_is_configured(start_server, open_raw, user_token):
    server = await start_server()
    assert await refusal(await open_raw(server.url, token=user_token(), greet=False)) == ("AUTH_INVALID", 4001)


async def test_auth_expired_for_an_old_guest_token(start_server, open_raw, engine, now_ms):
    server = await start_server(engine=engine)
    token = mint_guest_token(uuid.uuid4(), now_ms - DAY_MS - 1)
    assert await refusal(await open_raw(server.url, token=token, greet=False)) == ("AUTH_EXPIRED", 4001)


async def test_session_create_failed_for_a_malformed_session_id(start_server, open_raw, engine):
    server = await start_server(engine=engine)
    client = await open_raw(server.url, session="a%20b", greet=False)
    assert await refusal(client) == ("SESSION_CREATE_FAILED", 4001)


async def test_a_jwt_is_found_in_query_header_and_subprotocol(start_server, open_raw, engine, user_token, jwt_key):
    server = await start_server(engine=engine, jwt_key=jwt_key)
    encoded = base64.urlsafe_b64encode(user_token("carol").encode()).rstrip(b"=").decode()
    for user, options in (
        ("alice", {"token": user_token("alice")}),
        ("bob", {"token": None, "additional_headers": {"Authorization": f"Bearer {user_token('bob')}"}}),
        ("carol", {"token": None, "subprotocols": ["wsctl.v1", f"token.{encoded}"]}),
    ):
        client = await open_raw(server.url, **options)
        assert client.greeting["data"]["userId"] == user
        assert client.greeting["data"]["isGuest"] is False
    assert client.ws.subprotocol == "wsctl.v1"


async def test_guests_can_be_switched_off_or_made_to_sign(start_server, open_raw, guest_token, jwt_key, now_ms):
    off = await start_server(guests=GuestMode.OFF, jwt_key=jwt_key)
    assert await refusal(await open_raw(off.url, greet=False)) == ("AUTH_INVALID", 4001)
    signed = await start_server(guests=GuestMode.SIGNED, guest_secret=SECRET)
    assert await refusal(await open_raw(signed.url, greet=False)) == ("AUTH_INVALID", 4001)
    token = mint_guest_token(uuid.uuid4(), now_ms, SECRET)
    assert (await open_raw(signed.url, token=token)).greeting["data"]["isGuest"] is True


async def test_a_sid_pins_the_session(start_server, open_raw, user_token, jwt_key):
    server = await start_server(jwt_key=jwt_key, session_join=SessionJoin.TOKEN)
    pinned = await open_raw(server.url, token=user_token(sid="room-1"))
    assert pinned.greeting["sessionId"] == "room-1"
    same = await open_raw(server.url, token=user_token("bob", sid="room-1"), session="room-1")
    assert same.greeting["sessionId"] == "room-1"
    foreign = await open_raw(server.url, token=user_token(sid="room-1"), session="room-2", greet=False)
    assert await refusal(foreign) == ("SESSION_CREATE_FAILED", 4001)


async def test_joining_by_id_alone_needs_open_joining(start_server, open_raw, user_token, jwt_key):
    server = await start_server(jwt_key=jwt_key, session_join=SessionJoin.TOKEN)
    owner = await open_raw(server.url, token=user_token("alice"))
    session = owner.greeting["sessionId"]
    for token in ("", user_token("mallory")):
        stranger = await open_raw(server.url, token=token, session=session, greet=False)
        assert await refusal(stranger) == ("SESSION_CREATE_FAILED", 4001)
    await owner.send("ping")
    assert (await owner.receive())["type"] == "pong"


async def test_limits_in_all_per_address_and_per_user_answer_1013(start_server, open_raw, user_token, jwt_key, engine):
    for limits in (ConnectionLimits(total=1), ConnectionLimits(per_ip=1), ConnectionLimits(per_user=1)):
        server = await start_server(engine=engine, jwt_key=jwt_key, connections=limits)
        first = await open_raw(server.url, token=user_token())
        second = await open_raw(server.url, token=user_token(), greet=False)
        assert await refusal(second) == (None, 1013)
        await first.ws.close()
        await server.connections.wait_empty()
        assert (await open_raw(server.url, token=user_token())).greeting["type"] == "session_created"


async def test_a_foreign_origin_is_refused_with_1008(start_server, open_raw, engine):
    server = await start_server(engine=engine, profile=Profile.PROD)
    assert (await open_raw(server.url)).greeting["type"] == "session_created"  # a program, no page
    own = server.url.replace("ws://", "http://").removesuffix("/socket.io/")
    assert (await open_raw(server.url, origin=own)).greeting["type"] == "session_created"
    assert await refusal(await open_raw(server.url, origin="https://evil.example", greet=False)) == ("FORBIDDEN", 1008)


def request(origin: str | None, host: str = "app.example", extra: tuple[tuple[str, str], ...] = ()) -> HandshakeRequest:
    headers = [("Host", host), *extra]
    return HandshakeRequest("/", headers if origin is None else [*headers, ("Origin", origin)])


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://app.example", True),
        ("HTTPS://APP.EXAMPLE", True),
        ("https://app.example:443", True),
        ("https://app.example:444", False),
        ("https://app.example.evil", False),
        ("https://evilapp.example", False),
        ("https://app.example@evil.example", False),
        ("https://app.example/path", False),
        ("null", False),
        ("", False),
        ("https://", False),
        ("https://[", False),
        ("https://app.example\x00", False),
    ],
)
def test_an_origin_counts_as_own_only_for_the_same_host_and_port(origin, allowed):
    assert OriginPolicy().allows(request(origin)) is allowed


def test_two_origin_headers_are_refused():
    assert not OriginPolicy().allows(request("https://app.example", extra=(("Origin", "https://app.example"),)))


def test_an_allow_list_replaces_the_own_host():
    policy = OriginPolicy(["https://front.example", "null"])
    assert policy.allows(request("https://front.example:443"))
    assert policy.allows(request("null"))
    assert not policy.allows(request("https://app.example"))
    assert OriginPolicy(["*"]).allows(request("https://anything.example"))


def test_the_dev_profile_admits_pages_of_this_machine():
    policy = OriginPolicy(allow_loopback=True)
    assert policy.allows(request("http://localhost:5173", host="127.0.0.1:8765"))
    assert not policy.allows(request("http://localhost.evil.example:5173", host="127.0.0.1:8765"))


def test_an_allow_list_entry_that_is_no_origin_is_named():
    with pytest.raises(ConfigError, match=r"--origin: 'app\.example' is not an origin"):
        OriginPolicy(["app.example"])


async def test_a_token_that_leaks_into_a_request_repr_is_not_shown(user_token):
    token = user_token()
    head = HandshakeRequest(f"/socket.io/?token={token}", [("Authorization", f"Bearer {token}")])
    assert token not in repr(head)
    assert mint_jwt(SECRET, {"sub": "a"}) not in repr(head)


async def test_a_connection_that_cannot_be_greeted_is_let_go(start_server, open_raw, engine, monkeypatch):
    server = await start_server(engine=engine)
    good = await open_raw(server.url)
    with monkeypatch.context() as broken:
        broken.setattr(EnvelopeSender, "send", lambda *_, **__: 1 / 0)
        failed = await open_raw(server.url, greet=False)
        assert await failed.close_code() == 1011
    assert len(server.connections) == 1
    await good.send("ping")
    assert (await good.receive())["type"] == "pong"

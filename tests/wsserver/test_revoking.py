"""Tokens and users that are revoked: who is connected ends, who comes is refused, and nobody else notices."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.conftest import SECRET, now_ms
from wscore import revocations
from wscore.tokens import JwtKey
from wsserver import App, Principal, Revocation, RevocationsFullError
from wsserver.connections import revoking

TOLD = "The token was revoked."


@pytest.fixture
async def start(start_server, engine):
    async def start(app=None, **settings):
        return await start_server(app, engine=engine, jwt_key=JwtKey(secret=SECRET), **settings)

    return start


def seconds_ago(seconds=0.0):
    return now_ms() / 1000 - seconds


async def ends(client):
    """Wait for the end; the error that came, and the close frame."""
    envelopes, code, reason = await client.received_until_closed()
    errors = [envelope["data"]["code"] for envelope in envelopes if envelope["type"] == "error"]
    return errors, code, reason


REVOKED = (["AUTH_INVALID"], 4001, TOLD)


async def stays(client):
    await client.send("ping", id="alive")
    return (await client.receive_type("pong"))["id"] == "alive"


async def test_by_jti_one_token_ends_and_comes_back_no_more(start, open_raw, user_token):
    server = await start()
    stolen, other = user_token("alice", jti="stolen"), user_token("alice", jti="other")
    ended = [await open_raw(server.url, token=stolen) for _ in range(2)]
    kept = [await open_raw(server.url, token=token) for token in (other, user_token("bob"), "")]
    await server.hub.revoke(Revocation(jti="stolen"))
    assert [await ends(client) for client in ended] == [REVOKED] * 2
    assert await ends(await open_raw(server.url, token=stolen, greet=False)) == REVOKED
    assert all([await stays(client) for client in kept])
    assert await stays(await open_raw(server.url, token=other))
    value = server.metrics.value
    assert value("wsctl_connections_closed_total", disconnect="token-revoked", code="4001") == 2
    assert value("wsctl_auth_failures_total", rule="revoked") == 1
    assert value("wsctl_revocations") == 1
    assert value("wsctl_revocation_bytes") == revocations.ENTRY_BYTES


async def test_a_user_and_a_guest_end_with_all_their_tokens_and_an_older_token_alone(start, open_raw, user_token):
    server = await start()
    alice = [await open_raw(server.url, token=user_token("alice", iat=seconds_ago())) for _ in range(2)]
    guest, other_guest = await open_raw(server.url), await open_raw(server.url)
    old = await open_raw(server.url, token=user_token("bob", iat=seconds_ago(10)))
    new = await open_raw(server.url, token=user_token("bob", iat=seconds_ago()))
    bare = await open_raw(server.url, token=user_token("bob"))
    await server.hub.revoke(Revocation(user_id="alice"))
    await server.hub.revoke(Revocation(user_id=guest.greeting["data"]["userId"]))
    await server.hub.revoke(Revocation(user_id="bob", issued_before_ms=now_ms() - 5000))
    for client in (*alice, guest, old, bare):
        assert await ends(client) == REVOKED
    assert await stays(new)
    assert await stays(other_guest)
    later = await open_raw(server.url, token=user_token("alice", iat=seconds_ago(-5)), greet=False)
    assert await ends(later) == REVOKED


async def test_all_tokens_issued_before_a_moment_end_in_turns_and_newer_ones_stay(
    start, open_raw, user_token, guest_token, monkeypatch
):
    monkeypatch.setattr(revoking, "LOOKED_AT_ONCE", 3)
    monkeypatch.setattr(revoking, "ENDED_AT_ONCE", 2)
    server = await start()
    old = [await open_raw(server.url, token=user_token(f"u{number}", iat=seconds_ago(60))) for number in range(7)]
    fresh = [await open_raw(server.url, token=user_token(f"u{number}", iat=seconds_ago())) for number in range(7)]
    await asyncio.gather(
        server.hub.revoke(Revocation(issued_before_ms=now_ms() - 30_000)),
        server.hub.revoke(Revocation(user_id="u3")),
    )
    assert [await ends(client) for client in old] == [REVOKED] * 7
    assert await ends(fresh.pop(3)) == REVOKED
    assert all([await stays(client) for client in fresh])


async def test_a_revoked_token_refreshes_nothing(start, open_raw, user_token):
    server = await start()
    client = await open_raw(server.url, token=user_token("alice", jti="first"))
    await server.hub.revoke(Revocation(jti="second"))
    await client.send("auth_refresh", {"token": user_token("alice", jti="second")}, id="r")
    answer = await client.receive()
    assert (answer["id"], answer["data"]["code"], answer["data"]["message"]) == ("r", "AUTH_INVALID", TOLD)
    await client.send("auth_refresh", {"token": user_token("alice", jti="third")}, id="s")
    assert (await client.receive_type("auth_refreshed"))["id"] == "s"
    await server.hub.revoke(Revocation(jti="first"))  # which it has left behind
    assert await stays(client)
    await server.hub.revoke(Revocation(jti="third"))
    assert await ends(client) == REVOKED


async def test_who_waits_for_a_hook_is_refused_if_it_is_revoked_meanwhile(start, open_raw, user_token):
    app, asked, go = App(), asyncio.Event(), asyncio.Event()

    @app.connecting
    async def decide(request):
        asked.set()
        await go.wait()

    server = await start(app)
    client = await open_raw(server.url, token=user_token("alice"), greet=False)
    await asked.wait()
    await server.hub.revoke(Revocation(user_id="alice"))
    go.set()
    assert await ends(client) == REVOKED
    assert len(server.connections) == 0


async def test_who_logs_in_by_cookie_is_revoked_as_if_issued_at_that_moment(start, open_raw, user_token):
    app = App()

    @app.connecting
    def log_in(request):
        name = request.query.get("name")
        if name == "own":
            request.principal = Principal("carol", False, now_ms() + 60_000)
        elif name is not None:
            request.log_in(name)

    server = await start(app)
    alice = await open_raw(server.url, token=None, resume={"name": "alice"})
    await asyncio.sleep(0.002)  # the clock goes on
    await server.hub.revoke(Revocation(user_id="alice", issued_before_ms=now_ms()))
    assert await ends(alice) == REVOKED
    again = await open_raw(server.url, token=None, resume={"name": "alice"})
    mapped = await open_raw(server.url, token=user_token("x", jti="x"), resume={"name": "alice"}, greet=False)
    assert await ends(mapped) == REVOKED  # its token does not say when it was issued
    await server.hub.revoke(Revocation(user_id="alice"))
    assert await ends(again) == REVOKED
    assert await ends(await open_raw(server.url, token=None, resume={"name": "alice"}, greet=False)) == REVOKED
    bob = await open_raw(server.url, token=user_token("x", jti="bobs"), resume={"name": "bob"})
    carol = await open_raw(server.url, token=None, resume={"name": "own"})
    await server.hub.revoke(Revocation(jti="bobs"))
    await server.hub.revoke(Revocation(user_id="carol", issued_before_ms=now_ms() - 10_000))
    assert await ends(bob) == REVOKED
    assert await ends(carol) == REVOKED


async def test_what_has_no_effect_is_an_error_and_a_full_list_says_so(start, open_raw, user_token, monkeypatch):
    server = await start()
    client = await open_raw(server.url, token=user_token("alice", jti="a"))
    for wrong in ({"jti": "a", "expires_at_ms": now_ms() - 1}, {"issued_before_ms": now_ms() + 600_000}):
        with pytest.raises(ValueError, match="lies in the"):
            await server.hub.revoke(Revocation(**wrong))
    monkeypatch.setattr(revocations, "MAX_REVOCATIONS", 1)
    until = now_ms() + 60_000
    assert await server.hub.revoke(Revocation(jti="b", expires_at_ms=until)) == until
    with pytest.raises(RevocationsFullError, match="there is room for no more"):
        await server.hub.revoke(Revocation(jti="a"))
    assert await server.hub.revoke(Revocation(jti="b", expires_at_ms=until + 1)) == until + 1
    assert await stays(client)
    assert await stays(await open_raw(server.url, token=user_token("alice", jti="a")))


async def test_it_is_forgotten_once_its_tokens_have_expired_by_themselves(open_raw, user_token):
    from wsserver.testing import serving

    async with serving(App()) as running:
        await running.hub.revoke(Revocation(jti="short", expires_at_ms=now_ms() + 5000))
        client = await running.connect("alice", claims={"jti": "short"}, greet=False)
        assert await client.closed() == (4001, TOLD)
        await running.advance(70)
        assert running.server.metrics.value("wsctl_revocations") == 0
        client = await running.connect("alice", claims={"jti": "short"})


async def test_the_log_names_who_was_revoked_and_until_when_and_no_token(start, open_raw, user_token, caplog):
    caplog.set_level("INFO", "wsctl")
    server = await start()
    token = user_token("alice", jti="j1")
    client = await open_raw(server.url, token=token)
    until = await server.hub.revoke(Revocation(user_id="alice"))
    await ends(client)
    (record,) = [record for record in caplog.records if record.message == "tokens.revoked"]
    assert record.fields == {"user": "alice", "expires_at_ms": until}
    assert token not in json.dumps([record.fields for record in caplog.records], default=str)

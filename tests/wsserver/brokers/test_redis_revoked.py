"""What is revoked at one server ends at all that share its Redis, whatever becomes of that and of the way to it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import time
from contextlib import suppress

import pytest

from tests.conftest import SECRET, now_ms
from tests.wsserver.brokers.faultrelay import FaultRelay
from tests.wsserver.conftest import HANG_S
from wscore import revocations
from wscore.principal import Principal
from wscore.tokens import JwtKey
from wsserver import NotRevokedError, Revocation, RevocationsFullError
from wsserver.brokers import redisbackplane, redisrevoked
from wsserver.brokers.redisrevokedscripts import WRITE_REVOKED
from wsserver.brokers.redistarget import read_target

SEEDS = max(1, int(os.environ.get("CHAOS_SEEDS", "30")) // 1000)  # with sockets a seed takes long
LIST = "t:{revoked}"
KEYS = (LIST, f"{LIST}:order", f"{LIST}:ends")
PROMISED_S = 2.0
BUSY_S = 3.0  # more, for a machine that does other things too
REVOKED = (["AUTH_INVALID"], 4001, "The token was revoked.")


@pytest.fixture
async def start(start_server, redis):
    async def start(url=None, engine=None, **settings):
        engines = {} if engine is None else {"engine": engine}
        target = read_target(url or redis.url)
        return await start_server(
            broker=target, broker_prefix="t:", jwt_key=JwtKey(secret=SECRET), **engines, **settings
        )

    return start


@pytest.fixture
async def relay(redis):
    relay = FaultRelay(redis.port)
    relay.url = await relay.start()
    yield relay
    await relay.stop()


async def end_of(client):
    envelopes, code, reason = await client.received_until_closed()
    return [item["data"]["code"] for item in envelopes if item["type"] == "error"], code, reason


async def until(holds, within_s=HANG_S):
    end_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end_s, "it never came true"
        await asyncio.sleep(0.01)


def held(server):
    return server.metrics.value("wsctl_revocations")


def stored(redis):
    with redis.client as client:
        sizes = {client.hlen(LIST) - 2, client.zcard(KEYS[1]), client.zcard(KEYS[2])}
    return sizes.pop() if len(sizes) == 1 else -1  # while something is missing


def is_revoked(server, jti):
    return server._upgrade._authentication._revocations.is_revoked(Principal("x", False, 0, token_id=jti))


@pytest.mark.parametrize(
    "fields", [{"jti": "j"}, {"user_id": "alice"}, {"issued_before_ms": 1_700_000_000_000}], ids=str
)
async def test_revoked_at_one_it_ends_at_the_other_and_comes_back_nowhere(start, open_raw, user_token, engine, fields):
    first, second = await start(engine=engine), await start(engine=engine)
    token = user_token("alice", jti="j")
    here, there = await open_raw(first.url, token=token), await open_raw(second.url, token=token)
    bystander = await open_raw(second.url, token=user_token("bob", iat=now_ms() // 1000))
    began_s = time.monotonic()
    await first.hub.revoke(Revocation(**fields))
    assert [await end_of(client) for client in (here, there)] == [REVOKED] * 2
    assert time.monotonic() - began_s < PROMISED_S + BUSY_S
    third = await start(engine=engine)
    for server in (first, second, third):
        assert await end_of(await open_raw(server.url, token=token, greet=False)) == REVOKED
    await bystander.send("ping")
    await bystander.receive_type("pong")


async def test_nothing_hangs_on_the_subscription(start, open_raw, user_token, relay):
    first, second = await start(), await start(relay.url)
    client = await open_raw(second.url, token=user_token("alice", jti="j"))
    relay.is_deaf = True
    began_s = time.monotonic()
    await first.hub.revoke(Revocation(jti="j"))
    assert await end_of(client) == REVOKED
    assert time.monotonic() - began_s < PROMISED_S + BUSY_S
    assert second._broker.is_up, "nobody has noticed yet that it is deaf"


@pytest.mark.parametrize("loss", ["FLUSHALL", *KEYS, "one entry"])
async def test_what_the_store_loses_is_written_back(start, redis, loss):
    first, second = await start(), await start()
    for number in range(3):
        await first.hub.revoke(Revocation(jti=f"j{number}"))
    await until(lambda: held(second) == 3)
    with redis.client as client:
        if loss == "FLUSHALL":
            client.flushall()
        elif loss == "one entry":
            client.hdel(LIST, next(key for key in client.hkeys(LIST) if len(key) == 17))
        else:
            client.delete(loss)
    await until(lambda: stored(redis) == 3)
    third = await start()
    assert held(third) == 3
    assert all(is_revoked(third, f"j{number}") for number in range(3))
    await third.hub.revoke(Revocation(jti="later"))
    await until(lambda: held(first) == held(second) == 4)


@pytest.mark.parametrize("keeps", ["nothing", "an old snapshot"])
async def test_redis_comes_back_without_it_and_nothing_is_forgotten(start, start_redis, open_raw, user_token, keeps):
    redis = start_redis(*(("--save", "3600 1000") if keeps != "nothing" else ()))
    first, second = await start(redis.url), await start(redis.url)
    await first.hub.revoke(Revocation(jti="before"))
    if keeps != "nothing":
        with redis.client as client:
            client.save()
    await first.hub.revoke(Revocation(jti="behind"))
    await until(lambda: held(second) == 2)
    redis.kill()
    await until(lambda: not (first._broker.is_up or second._broker.is_up))
    assert is_revoked(second, "behind")
    with pytest.raises(NotRevokedError, match="nothing was revoked: the broker is not reached; try again"):
        await first.hub.revoke(Revocation(jti="meanwhile"))
    assert not is_revoked(first, "meanwhile")
    redis.start()
    await until(lambda: stored(redis) == 2)
    third = await start(redis.url)
    for server in (first, second, third):
        token = user_token("alice", jti="behind")
        await until(lambda server=server: server._broker.is_up)
        assert await end_of(await open_raw(server.url, token=token, greet=False)) == REVOKED
    await second.hub.revoke(Revocation(jti="meanwhile"))
    await until(lambda: is_revoked(first, "meanwhile") and is_revoked(third, "meanwhile"))


async def test_a_redis_that_stands_still_leaves_nobody_sure(start, redis, monkeypatch):
    monkeypatch.setattr(redisrevoked, "ANSWER_S", 0.2)
    first, second = await start(), await start()
    redis.signal(signal.SIGSTOP)
    with pytest.raises(NotRevokedError, match="it is not known whether this is revoked") as caught:
        await first.hub.revoke(Revocation(jti="j"))
    assert caught.value.is_unknown
    assert not is_revoked(first, "j")
    redis.signal(signal.SIGCONT)
    await until(lambda: is_revoked(first, "j") and is_revoked(second, "j"))  # it was on its way


async def test_who_revokes_while_redis_is_lost_is_told_at_once(start, relay):
    server = await start(relay.url)
    relay.delay_s = 30
    asked = asyncio.create_task(server.hub.revoke(Revocation(jti="j")))
    await asyncio.sleep(0.05)
    relay.cut_all()
    with pytest.raises(NotRevokedError, match="lost meanwhile"):
        await asyncio.wait_for(asked, HANG_S)


async def test_a_redis_without_memory_refuses_and_says_so(start, start_redis):
    redis = start_redis("--maxmemory-policy", "noeviction")
    server = await start(redis.url)
    await server.hub.revoke(Revocation(jti="kept"))
    with redis.client as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(NotRevokedError, match="OOM"):
            await server.hub.revoke(Revocation(jti="j"))
        assert not is_revoked(server, "j")
        client.config_set("maxmemory", "0")
    await server.hub.revoke(Revocation(jti="j"))
    assert stored(redis) == 2


async def test_no_more_than_the_limit_are_kept_for_all_and_expired_ones_make_room(start, redis, monkeypatch):
    monkeypatch.setattr(redisrevoked, "MAX_REVOCATIONS", 2)
    monkeypatch.setattr(revocations, "GRACE_MS", 0)
    first, second = await start(), await start()
    soon = now_ms() + 1500
    await first.hub.revoke(Revocation(jti="short", expires_at_ms=soon))
    await first.hub.revoke(Revocation(jti="long"))
    with pytest.raises(RevocationsFullError):
        await second.hub.revoke(Revocation(jti="more"))
    assert await first.hub.revoke(Revocation(jti="long")) > soon  # the same once more takes no room
    await until(lambda: now_ms() > soon + 1000)  # Redis' own clock counts in seconds there
    await second.hub.revoke(Revocation(jti="more"))
    assert stored(redis) == 2
    await until(lambda: not is_revoked(first, "short") and is_revoked(first, "more"))


HOUR_MS = 3_600_000


@pytest.mark.parametrize("jump_ms", [HOUR_MS, -HOUR_MS])
@pytest.mark.parametrize("whose", ["Redis", "ours"])
async def test_a_clock_that_jumps_an_hour_lets_nothing_end_early_or_stay_for_ever(
    start, redis, monkeypatch, jump_ms, whose
):
    first = await start()
    soon = now_ms() + HOUR_MS // 2
    await first.hub.revoke(Revocation(jti="short", expires_at_ms=soon))
    if whose == "Redis":
        time_ms = b"tonumber(redis.call('TIME')[1]) * 1000"
        assert time_ms in WRITE_REVOKED
        script = WRITE_REVOKED.replace(time_ms, b"%b + %d" % (time_ms, jump_ms))
        monkeypatch.setattr(redisbackplane, "WRITE_REVOKED", script)
        monkeypatch.setattr(redisrevoked, "WRITE_REVOKED_SHA", hashlib.sha1(script).hexdigest().encode())
    else:
        monkeypatch.setattr(redisrevoked, "now_ms", lambda: now_ms() + jump_ms)
    second = await start()
    await second.hub.revoke(Revocation(jti="other", expires_at_ms=soon))
    assert stored(redis) == 2, "nothing ended early"
    third = await start()
    assert is_revoked(third, "short")
    assert is_revoked(third, "other")
    with redis.client as client:
        assert 0 < client.pttl(LIST) < 4 * HOUR_MS


async def test_more_than_one_page_is_read_and_written_back(start, redis, monkeypatch):
    monkeypatch.setattr(redisrevoked, "READ_AT_ONCE", 7)
    monkeypatch.setattr(redisrevoked, "WRITTEN_AT_ONCE", 5)
    first, second = await start(), await start()
    for number in range(30):
        await first.hub.revoke(Revocation(jti=f"j{number}"))
    third = await start()
    assert held(third) == 30
    await until(lambda: held(second) == 30)
    with redis.client as client:
        client.flushall()
    await until(lambda: stored(redis) == 30)
    await second.hub.revoke(Revocation(jti="j3", expires_at_ms=now_ms() + 90 * 86_400_000))  # longer than before
    ends = {entry.until_ms for entry in first._upgrade._authentication._revocations.entries().values()}
    assert len(ends) <= 30
    fourth = await start()
    kept = [server._upgrade._authentication._revocations.entries() for server in (second, fourth)]
    assert kept[0] == kept[1]


async def test_the_keys_in_redis_name_nobody_and_end_with_the_last_of_them(start, redis):
    server = await start()
    await server.hub.revoke(Revocation(user_id="alice@example.org"))
    await server.hub.revoke(Revocation(jti="a secret name", expires_at_ms=now_ms() + 86_400_000))
    with redis.client as client:
        assert {key.decode() for key in client.keys("t:*revoked*")} == set(KEYS)
        shown = repr(client.hgetall(LIST)) + repr(client.zrange(KEYS[1], 0, -1))
        days = {round(client.pttl(key) / 86_400_000) for key in KEYS}
    assert "alice" not in shown
    assert "secret" not in shown
    assert days == {30}


async def test_what_somebody_else_writes_there_breaks_nothing(start, redis):
    server = await start()
    await server.hub.revoke(Revocation(jti="j"))
    with redis.client as client:
        client.hset(LIST, next(key for key in client.hkeys(LIST) if len(key) == 17), "nonsense")
    second = await start()
    assert held(second) == 0
    await server.hub.revoke(Revocation(jti="j"))
    await until(lambda: is_revoked(second, "j"))


async def test_a_server_that_is_not_told_what_is_revoked_is_not_ready(start, redis, monkeypatch):
    monkeypatch.setattr(redisrevoked, "POLL_S", 0.02)
    first, second = await start(), await start()
    with redis.client as client:
        client.set(LIST, "something else")
        await until(lambda: not (first.is_ready or second.is_ready))
        with pytest.raises(NotRevokedError, match="WRONGTYPE"):
            await first.hub.revoke(Revocation(jti="j"))
        client.delete(LIST)
    await until(lambda: first.is_ready and second.is_ready)
    await first.hub.revoke(Revocation(jti="j"))
    await until(lambda: is_revoked(second, "j"))


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_becomes_of_the_store_nothing_that_was_revoked_is_forgotten(start, redis, monkeypatch, seed):
    monkeypatch.setattr(redisrevoked, "POLL_S", 0.02)
    monkeypatch.setattr(redisrevoked, "READ_AT_ONCE", 4)
    rng = random.Random(seed)
    servers = [await start() for _ in range(3)]
    revoked, dumps = set(), {}
    with redis.client as client:

        async def revoke(server, name):
            with suppress(NotRevokedError):
                await server.hub.revoke(Revocation(jti=name))
                revoked.add(name)

        for step in range(40):
            await asyncio.gather(*(revoke(rng.choice(servers), f"{step}.{n}") for n in range(rng.randrange(4))))
            match rng.randrange(8):
                case 0:
                    client.flushall()
                case 1:
                    client.delete(rng.choice(KEYS))
                case 2:
                    dumps = {key: client.dump(key) for key in KEYS}
                case 3:  # a restart with an old snapshot, which ends all connections
                    client.client_kill_filter(_type="normal", skipme=True)
                    client.client_kill_filter(_type="pubsub")
                    for key, dump in dumps.items():
                        client.delete(key)
                        if dump:
                            client.restore(key, 0, dump)
                case 4:
                    client.client_kill_filter(_type=rng.choice(["normal", "pubsub"]))
                    await asyncio.sleep(rng.random() / 10)
                    if rng.random() < 0.8:
                        await until(lambda: all(server._broker.is_up for server in servers))
                case 5:
                    client.script_flush()
                case _:
                    await asyncio.sleep(rng.random() / 20)
        assert revoked
        for server in (*servers, await start()):
            await until(lambda server=server: all(is_revoked(server, name) for name in revoked))
        await until(lambda: stored(redis) >= len(revoked))
    last = await start()
    assert all(is_revoked(last, name) for name in revoked)

"""Servers that share a Redis."""

from __future__ import annotations

import os

import pytest

from tests.wsserver.brokers.faultworld import KEPT, PREFIX, ROOMY, FaultWorld
from tests.wsserver.brokers.presencemember import Member
from wsserver.brokers.redistarget import read_target
from wsserver.sdk.app import default_app
from wsserver.testing.clock import MovableClock

# With sockets and processes a seed takes a hundred times as long as in a model.
SEEDS = max(1, int(os.environ.get("CHAOS_SEEDS", "30")) // 1000)


@pytest.fixture
async def movable_clock():
    clock = MovableClock()
    yield clock
    clock.restore()


@pytest.fixture
async def start_pair(start_server, redis):
    """Start two servers with one Redis: `first, second = await start_pair()`."""

    async def start(app=None, **settings):
        return [
            await start_server(app or default_app(), broker=read_target(redis.url), broker_prefix="t:", **settings)
            for _ in range(2)
        ]

    return start


@pytest.fixture
async def come(open_raw, user_token):
    """Have a user join the hall: `await come(server, "alice", presence=False)`."""

    async def enter(server, user, **options):
        return await Member(await open_raw(server.url, token=user_token(user))).join(**options)

    return enter


@pytest.fixture(params=range(SEEDS))
def seed(request):
    return request.param


@pytest.fixture
async def start_world(start_server, guest_token, seed):
    """Start two servers with a Redis, and all that talks: `world = await start_world(redis)`; one server without."""

    async def start(redis, *urls, clock=None):
        settings = {"recovery": KEPT, "outbound": ROOMY, "clock": clock, "broker_prefix": PREFIX}
        targets = [read_target(url) for url in urls or (redis.url, redis.url)] if redis else [None]
        servers = [await start_server(broker=target, **settings) for target in targets]
        world = FaultWorld(servers, redis, guest_token, seed)
        await world.begin()
        return world

    return start

"""Servers that share a Redis."""

from __future__ import annotations

import pytest

from tests.wsserver.brokers.presencemember import Member
from wsserver.brokers.redistarget import read_target
from wsserver.sdk.app import default_app
from wsserver.testing.clock import MovableClock


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

"""The name of a host that is not found after whoever asked has given up is no failure of the server."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.backend import SECRET
from wsserver.brokers import redislink
from wsserver.brokers.redislink import RedisLink
from wsserver.brokers.redistarget import read_target
from wsserver.telemetry.logs import EventLog
from wsserver.webhooks.exchange import PostError
from wsserver.webhooks.posting import Poster
from wsserver.webhooks.settings import HookUrl
from wsserver.webhooks.signing import SigningKeys

HANG_S = 20
pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])


@pytest.fixture
async def failures():
    """What the loop was told of that nobody asked for, once all look-ups are answered."""
    loop = asyncio.get_running_loop()
    told = []
    loop.set_exception_handler(lambda _, context: told.append(context))

    async def settled():
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("nowhere.invalid", 1)  # begun later, so answered later
        await asyncio.sleep(0.1)
        return told

    return settled


@pytest.mark.parametrize("url", ["redis://nowhere.invalid", "redis+sentinel://nowhere.invalid/master"])
async def test_of_a_broker_that_was_dialled(monkeypatch, failures, url):
    monkeypatch.setattr(redislink, "DIAL_TIMEOUT_S", 0)
    dialled = asyncio.Event()

    class Log(EventLog):
        def warning(self, event, **fields):
            assert (event, fields["problem"]) == ("broker.unreachable", "no answer")
            dialled.set()

    callbacks = dict.fromkeys(("on_up", "on_reply", "on_down", "on_refused"), lambda *_: None)
    link = RedisLink("publish", read_target(url), (), **callbacks, log=Log())
    link.start()
    await asyncio.wait_for(dialled.wait(), HANG_S)
    await link.stop()
    assert await failures() == []


async def test_of_a_backend_that_was_posted_to(failures):
    keys = SigningKeys([SECRET], "test")
    poster = Poster(HookUrl("--test", "http://nowhere.invalid/"), keys, lambda: 0, timeout_s=0)
    with pytest.raises(PostError, match="no answer within 0 s"):
        await poster.post("1", b"")
    assert await failures() == []

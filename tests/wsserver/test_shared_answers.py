"""What many ask the operations port at the same time is made once for all of them, and never before they asked."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from wsserver.operations.port.app import port_app
from wsserver.operations.port.shared import Shared
from wsserver.telemetry.logs import EventLog

HANG_S = 20


class Gate:
    """Makes answers one after another, each once it is let; `begun` says how many were begun."""

    def __init__(self) -> None:
        self.begun = self.now = self.most = 0
        self.permits = asyncio.Semaphore(0)

    async def make(self) -> int:
        self.begun += 1
        number = self.begun
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            async with asyncio.timeout(HANG_S):
                await self.permits.acquire()
        finally:
            self.now -= 1
        return number

    async def wait_begun(self, count: int) -> None:
        async with asyncio.timeout(HANG_S):
            while self.begun < count:
                await asyncio.sleep(0)


async def test_who_asks_meanwhile_gets_the_next_answer_together():
    gate = Gate()
    shared = Shared(gate.make)
    first = asyncio.create_task(shared.get())
    await gate.wait_begun(1)
    later = [asyncio.create_task(shared.get()) for _ in range(100)]
    await asyncio.sleep(0)
    gate.permits.release()
    assert await first == 1
    await gate.wait_begun(2)
    latest = asyncio.create_task(shared.get())
    gate.permits.release()
    assert await asyncio.gather(*later) == [2] * 100
    gate.permits.release()
    assert await latest == 3
    assert gate.most == 1
    gate.permits.release()
    assert await shared.get() == 4, "none is kept"


async def test_one_that_leaves_takes_the_answer_from_nobody_else():
    gate = Gate()
    shared = Shared(gate.make)
    leaving, staying = (asyncio.create_task(shared.get()) for _ in range(2))
    await gate.wait_begun(1)
    leaving.cancel()
    await asyncio.wait((leaving,))
    gate.permits.release()
    assert await staying == 1


async def test_a_failure_is_that_of_all_who_wait_and_of_nobody_later():
    problems = [RuntimeError("first"), None]

    async def make() -> str:
        await asyncio.sleep(0)
        if (problem := problems.pop(0)) is not None:
            raise problem
        return "well"

    shared = Shared(make)
    first = [asyncio.create_task(shared.get()) for _ in range(2)]
    assert [str(problem) for problem in await asyncio.gather(*first, return_exceptions=True)] == ["first"] * 2
    assert await shared.get() == "well"


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
async def test_many_scrapes_side_by_side_gather_once(start_server, path):
    server = await start_server()
    asked, most, now = 0, 0, 0
    gate = asyncio.Event()

    class Slow:
        async def here(self, query):
            nonlocal asked, most, now
            asked += 1
            now += 1
            most = max(most, now)
            await gate.wait()
            now -= 1
            return await server.operations.here(query)

    app = port_app(Slow(), None, EventLog())  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        scrapes = [asyncio.create_task(client.get(path)) for _ in range(50)]
        async with asyncio.timeout(HANG_S):
            while not asked:
                await asyncio.sleep(0)
            for _ in range(100):  # all are there
                await asyncio.sleep(0)
            gate.set()
            answers = await asyncio.gather(*scrapes)
    assert {answer.status_code for answer in answers} == {200}
    assert most == 1
    assert asked <= 2

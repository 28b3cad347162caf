"""A program whose start is cancelled, whenever that is, ends: nothing runs on, and the loop can be closed."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress

import psutil
import pytest

from wsserver.starting import start_program, to_the_end

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])
HANG_S = 20
TURNS = 12  # of the event loop, in which a start has come to different places


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


@pytest.mark.parametrize("turns", range(TURNS))
async def test_who_is_cancelled_while_a_program_starts_leaves_none(turns):
    before = children()
    starting = asyncio.create_task(start_program("cat", stdin=PIPE, stdout=PIPE, stderr=DEVNULL))
    for _ in range(turns):
        await asyncio.sleep(0)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        process = await asyncio.wait_for(starting, HANG_S)  # or it was quicker
        process.stdin.close()
        await process.wait()
    assert children() <= before


async def test_who_is_cancelled_while_it_ends_something_is_so_once_it_has_ended():
    ended = []

    async def end():
        await asyncio.sleep(0.01)
        ended.append(True)

    ending = asyncio.create_task(to_the_end(end()))
    for _ in range(3):
        await asyncio.sleep(0)
        ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert ended


async def test_what_cannot_be_started_says_so():
    with pytest.raises(FileNotFoundError):
        await start_program("no-such-program")

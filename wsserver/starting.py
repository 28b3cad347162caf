"""Starts programs so that none is left behind by a call that is cancelled."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


async def start_program(*command: str, **options: Any) -> Process:
    """Start a program, with the options of `asyncio.create_subprocess_exec`; raises OSError.

    If it is cancelled meanwhile the program is ended: uvloop leaves it running, and then cannot close its loop.
    """
    starting = asyncio.ensure_future(asyncio.create_subprocess_exec(*command, **options))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await to_the_end(_end(starting))
        raise


async def to_the_end(run: Coroutine[Any, Any, None]) -> None:
    """Run something to its end; who is cancelled meanwhile is so only then."""
    running = asyncio.ensure_future(run)
    is_cancelled = False
    while not running.done():
        try:
            await asyncio.wait((running,))
        except asyncio.CancelledError:
            is_cancelled = True
    running.result()
    if is_cancelled:
        raise asyncio.CancelledError


async def _end(starting: asyncio.Future[Process]) -> None:
    await asyncio.wait((starting,))
    if starting.cancelled() or starting.exception() is not None:
        return
    process = starting.result()
    if process.stdin is not None:
        process.stdin.close()
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()

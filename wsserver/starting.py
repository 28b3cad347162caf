"""Starts programs so that none is left behind by a call that is cancelled."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
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
        await asyncio.wait((starting,))
        if not starting.cancelled() and starting.exception() is None:
            await _end(starting.result())
        raise


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()

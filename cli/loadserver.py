"""The server of `--serve`: started for a load test, and stopped after it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from cli.secrets import SECRET_ENCODING_VARIABLE, SECRET_VARIABLE
from cli.variables import ENV_PREFIX
from wscore.errors import WsctlError
from wscore.secrets import SecretEncoding

START_S: Final = 30.0
STOP_S: Final = 15.0
_LISTENING: Final = re.compile(r"wsctl serves (\S+) ")

# Limits are off, a wsctl.toml for the real server is not read, and the log leaves the lines of connections out.
_COMMAND: Final = (
    *(sys.executable, "-P", "-m", "cli.main", "serve"),
    *("--port", "0", "--profile", "dev", "--config", os.devnull, "--log-level", "warning"),
    *("--max-connections", "0", "--max-connections-per-ip", "0", "--rate-limit", "0", "--byte-rate-limit", "0B"),
    *("--drain-timeout", "5s"),
)


class ServerDidNotStartError(WsctlError):
    """The server of `--serve` ended, or did not listen in time."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"--serve: the server did not start: {self.reason or 'it said nothing'}"


@asynccontextmanager
async def serving(secret: bytes | None, *options: str) -> AsyncIterator[tuple[str, int]]:
    """Run `wsctl serve` with more options on a free port for the block, and give its URL and process id."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    if secret is not None:
        kept |= {SECRET_VARIABLE: secret.hex(), SECRET_ENCODING_VARIABLE: SecretEncoding.HEX}
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        *options,
        env=kept,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C ends the load first
    )
    try:
        url = await _url(process)
        reading = asyncio.create_task(_discard(process))  # a full pipe would stop the server
        yield url, process.pid
        reading.cancel()
    finally:
        await _stop(process)


async def _url(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    last = ""
    with suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            async for line in process.stderr:
                last = line.decode(errors="replace").strip()
                if match := _LISTENING.match(last):
                    return match[1]
    raise ServerDidNotStartError(last)


async def _discard(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.read(1 << 16):
        pass


async def _stop(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            process.send_signal(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await process.wait()
                return

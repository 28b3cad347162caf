"""What a dial of the load generator comes to when the target is no server, without waiting for what cannot come."""

from __future__ import annotations

import asyncio

import pytest
from picows import WSListener

from loadtest.generator.dialing import Dialer, reason
from loadtest.wire import Tokens

HANG_S = 5  # half of what it waits for a greeting


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"\x15\x03\x03\x00\x02\x02\x46"])
async def test_a_target_that_hangs_up_without_an_answer_is_no_connection(answer):
    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with listening, asyncio.timeout(HANG_S):
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(Exception) as failed:  # noqa: PT011 # several kinds, which `reason` puts into words
            await Dialer(f"ws://127.0.0.1:{port}/", Tokens()).dial(WSListener(), 0, {})
    assert reason(failed.value) == "no WebSocket answer"

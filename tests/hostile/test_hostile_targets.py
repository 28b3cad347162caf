"""Servers that mean harm to the load tester: what they break is told by name, and blamed on them alone."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Final

import pytest

from tests.hostile.test_hostile_servers import (
    CONTROLS,
    ENDS,
    HELLO,
    PROTOCOLS,
    bombing,
    server_frame,
    shake_hands,
)
from tests.loadrun import run_loadtest
from tests.loadtest.driving import drive, short_plan
from tests.tcpserver import tcp_server

SHORT: Final = ("--connections", "2", "--ramp", "100ms", "--duration", "500ms", "--drain", "300ms")
MESSAGES: Final = {
    "socketio": '{"type":"a","id":{{id}}}',
    "jsonrpc": '{"method":"a","id":{{id}}}',
    "json": '{"id":{{id}}}',
}
NOISE: Final = re.compile(r"Traceback|Exception|\bFuture|Error\(")  # what no person is to read
MIB: Final = 1 << 20
FRAGMENT: Final = b"\x00\x7f" + MIB.to_bytes(8) + b"x" * MIB
# What is sent after the greeting, and what is told of it.
BREACHES: Final = {
    "a frame that breaks the WebSocket protocol": [b"\x81\x85abcdefghi"],
    "a message of more than 64MiB": [b"\x01\x01x", *[FRAGMENT] * 80],
    "a text that is not JSON": [server_frame("[" * 5000 + "]" * 5000)],
}


async def test_what_a_target_breaks_is_told_by_name_and_not_as_an_end_of_its_own():
    breaches = [[], *BREACHES.values()]  # the first connection is a look at the target

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = breaches.pop(0)
        with suppress(ConnectionError):
            await shake_hands(reader, writer)
            writer.write(server_frame(HELLO["wsctl"][0]))
            for part in sent:
                writer.write(part)
                await writer.drain()
            while await reader.read(1 << 16):
                pass

    async with tcp_server(handle) as port:
        plan = short_plan(f"ws://127.0.0.1:{port}/", connections=3, rate=30.0)
        outcome = await asyncio.to_thread(drive, plan)
    assert outcome.measured.errors == dict.fromkeys(BREACHES, 1)
    assert outcome.words == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDS)
async def test_a_target_whose_connections_end_badly_is_told_in_clean_words(tmp_path, name):
    handle, _ = ENDS[name]
    async with tcp_server(handle) as port:
        run = await asyncio.to_thread(
            run_loadtest, tmp_path, "heartbeat", f"ws://127.0.0.1:{port}/x", "--protocol", "raw", *SHORT
        )
    assert run.code in (3, 4, 98, 99), run.err
    for text in (run.out, run.err):
        assert not CONTROLS.search(text)
        assert not NOISE.search(text), text


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["heartbeat", "broadcast"])
@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name not in ("settings", "auto")])
async def test_a_target_that_sends_everything_ends_no_run(tmp_path, protocol, kind):
    said = MESSAGES.get(protocol)
    if kind == "broadcast":
        said = None if protocol == "wsctl" else '{"type":"a","data":"{{stamp}}"}'
    message = () if said is None else ("--message", said)
    async with tcp_server(bombing(protocol)) as port:
        place = (f"ws://127.0.0.1:{port}/x", "--protocol", protocol)
        run = await asyncio.to_thread(run_loadtest, tmp_path, kind, *place, *message, *SHORT)
    assert run.code in (98, 99), run.err
    for text in (run.out, run.err):
        assert not CONTROLS.search(text)
        assert not NOISE.search(text), text

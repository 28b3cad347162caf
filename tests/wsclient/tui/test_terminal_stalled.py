"""A terminal that reads nothing: the connection is read and recorded all the same, and the picture comes back whole."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from wsclient import Client
from wsclient.happenings import Happening, HappeningKind
from wsclient.recording import read_everything, read_recording

ROOT = Path(__file__).parents[3]
COUNT, HANG_S = 250, 60


class Pty:
    """A terminal of 120x40 that reads when it is told to."""

    def __init__(self, *command: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        os.set_blocking(self.ours, False)
        self._drawn = b""

    @property
    def text(self) -> str:
        """What was drawn; put together before its escapes are taken out, for a read may end in the middle of one."""
        return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", self._drawn.decode(errors="replace"))

    def forget(self) -> None:
        """Forget what was drawn so far."""
        self._drawn = b""

    async def until(self, text: str) -> None:
        """Read until this text was drawn."""
        async with asyncio.timeout(HANG_S):
            while text not in self.text:
                await asyncio.sleep(0.02)
                self._read()

    async def closed(self) -> int:
        """Read until the process has ended."""
        async with asyncio.timeout(HANG_S):
            while self.process.poll() is None:
                await asyncio.sleep(0.02)
                self._read()
        os.close(self.ours)
        return self.process.returncode

    async def gone(self) -> int:
        """Be gone without a signal, and wait until the process has ended; it must not need a kill."""
        os.close(self.ours)
        try:
            async with asyncio.timeout(HANG_S):
                while self.process.poll() is None:
                    await asyncio.sleep(0.02)
        finally:
            self.process.kill()
        return self.process.returncode

    def _read(self) -> None:
        try:
            self._drawn += os.read(self.ours, 1 << 20)
        except OSError:
            return


@pytest.mark.slow
async def test_a_terminal_that_reads_nothing_stops_neither_network_nor_recording(server, tmp_path):
    path = tmp_path / "talk.jsonl"
    command = (sys.executable, "-m", "cli.main", "connect", server.url, "--session", "room", "--record", str(path))
    terminal = Pty(*command)
    async with Client(server.url, session_id="room") as peer:
        await terminal.until("connected as")

        async def drain() -> None:
            async for _ in peer:
                pass

        draining = asyncio.create_task(drain())
        for number in range(COUNT):
            await peer.send("message", {"n": number, "at": time.time() * 1000, "text": os.urandom(30).hex()})
            await asyncio.sleep(0.01)
        async with asyncio.timeout(HANG_S):
            while path.read_text().count('"type":"message"') < COUNT:
                await asyncio.sleep(0.05)
        draining.cancel()
    messages = [record for record in read_recording(path) if record.envelope.type == "message"]
    data = [json.loads(bytes(record.envelope.data)) for record in messages]
    assert [item["n"] for item in data] == list(range(COUNT))
    late_ms = sorted(record.at_ms - item["at"] for record, item in zip(messages, data, strict=True))
    assert late_ms[COUNT // 2] < 2000
    terminal.forget()
    await terminal.until(f'"n":{COUNT - 1},')
    await terminal.until(f'"n":{COUNT - 30},')
    os.write(terminal.ours, b"\x11")
    assert await terminal.closed() == 0


@pytest.mark.parametrize("unread", [0, 300])
async def test_a_client_whose_terminal_is_gone_ends_and_its_recording_is_whole(server, tmp_path, unread):
    path = tmp_path / "talk.jsonl"
    command = (sys.executable, "-m", "cli.main", "connect", server.url, "--session", "room", "--record", str(path))
    terminal = Pty(*command)
    await terminal.until("connected as")
    for number in range(unread):
        server.hub.publish("note", {"n": number, "text": os.urandom(300).hex()}, session="room")
        await asyncio.sleep(0.005)
    async with asyncio.timeout(HANG_S):
        while path.read_text().count('"type":"note"') < unread:
            await asyncio.sleep(0.05)
    assert await terminal.gone() == 1
    *_, last = read_everything(path)
    assert isinstance(last, Happening)
    assert last.kind == HappeningKind.CLOSED

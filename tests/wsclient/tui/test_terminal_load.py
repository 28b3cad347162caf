"""5,000 messages a second for ten seconds: nothing is lost, memory is bounded, and keys are echoed meanwhile."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from textual.events import Key

ROOT = Path(__file__).parents[3]
RATE, SECONDS = 5000, 10
KEPT = 20_000
HANG_S = 120

FLOOD = """
import asyncio, sys, time
from wsclient import Client

async def main(url, rate, seconds):
    async with Client(url, session_id="room") as client:
        async def drain():
            async for _ in client:
                pass
        draining = asyncio.create_task(drain())
        started, sent = time.monotonic(), 0
        while sent < rate * seconds:
            due = min(int((time.monotonic() - started) * rate), rate * seconds)
            for sent in range(sent, due):
                await client.send("message", {"n": sent, "text": "x" * 80})
            sent = max(sent, due)
            await asyncio.sleep(0.005)
        print(time.monotonic() - started)
        draining.cancel()

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


@pytest.mark.slow
async def test_a_flood_is_shown_recorded_and_leaves_the_keys_alone(serving_process, open_terminal, tmp_path):
    path = tmp_path / "flood.jsonl"
    async with open_terminal(serving_process, record=path, ring_limit=KEPT, size=(120, 40)) as terminal:
        flood = subprocess.Popen(
            [sys.executable, "-c", FLOOD, serving_process, str(RATE), str(SECONDS)], cwd=ROOT, stdout=subprocess.PIPE
        )
        await terminal.press("c")
        data = terminal.screen.query_one("#data")
        echoes_ms = []
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        while flood.poll() is None:
            length, pressed_s = len(data.text), time.monotonic()
            terminal.app.post_message(Key("a", "a"))
            while len(data.text) == length:
                await asyncio.sleep(0)
            echoes_ms.append((time.monotonic() - pressed_s) * 1000)
            await asyncio.sleep(0.05)
        ring = terminal.screen._ring
        await terminal.until(lambda: ring.counts.get("message") == RATE * SECONDS)
        numbers = [ring.get(number).record for number in range(ring.first, ring.count)]
        kept = [
            int(number.text.split('"n":')[1].split(",")[0]) for number in numbers if number and '"n":' in number.text
        ]
        assert len(ring) == KEPT
        assert kept == list(range(kept[0], RATE * SECONDS))
        terminal.screen._live.stop_recording()
        recorded = [line for line in path.read_text().splitlines() if '"type":"message"' in line]
        assert len(recorded) == RATE * SECONDS
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        assert grown_kib < 150 * 1024
        echoes_ms.sort()
        sys.stdout.write(
            f"echo p50 {echoes_ms[len(echoes_ms) // 2]:.1f} ms, p99 {echoes_ms[int(len(echoes_ms) * 0.99)]:.1f} ms\n"
        )
        # The promise is 100 ms; a test that decides has to leave room for a machine that others use too.
        assert echoes_ms[len(echoes_ms) // 2] < 100
        assert flood.stdout is not None
        assert float(flood.stdout.read()) < HANG_S
        flood.stdout.close()


@pytest.fixture
def serving_process(tmp_path):
    """A server in a process of its own; returns its URL."""
    import json

    command = [sys.executable, "-m", "cli.main", "serve", "--port", "0", "--log-format", "json"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    yield json.loads(process.stderr.readline())["url"]
    process.terminate()
    process.wait(HANG_S)
    process.stderr.close()

"""What a real server's memory does when clients send more than its app can handle."""

from __future__ import annotations

import json
import re
import select
from collections.abc import Callable
from pathlib import Path

import pytest
import websocket

HANG_S = 60
MIB = 1 << 20
QUIET_S = 0.5  # no socket took a byte for so long: every client is held back
CLIENTS, MESSAGES, MESSAGE_BYTES = 10, 100, 1_000_000

APP = """
import asyncio
from wsserver import App, Context

app = App()
started = 0


@app.on("slow")
async def slow(ctx: Context, data: list) -> None:
    global started
    started += 1
    await asyncio.sleep(3600)


@app.on("count")
def count(ctx: Context) -> None:
    ctx.reply("counted", started)
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory from /proc")


def memory_of(pid: int, field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def flood(clients: list[websocket.WebSocket], frames: list[bytes]) -> int:
    """Send all frames on every connection until nobody takes any more; returns how many bytes were taken."""
    data = b"".join(frames)
    left = {client.sock: memoryview(data) for client in clients}
    for sock in left:
        sock.setblocking(False)
    taken = 0
    while left:
        _, writable, _ = select.select([], list(left), [], QUIET_S)
        if not writable:
            break
        for sock in writable:
            sent = sock.send(left[sock][: 1 << 18])
            taken += sent
            left[sock] = left[sock][sent:]
            if not left[sock]:
                del left[sock]
    return taken


def count(client: websocket.WebSocket) -> int:
    client.send('{"type":"count","timestamp":1}')
    while (answer := json.loads(client.recv()))["type"] != "counted":
        pass
    return int(answer["data"])


@pytest.mark.parametrize(
    ("options", "cap", "data"),
    [
        ((), 64 * MIB, f'["{"x" * MESSAGE_BYTES}"]'),
        (("--max-inbound-memory", "16MiB"), 16 * MIB, f'["{"x" * MESSAGE_BYTES}"]'),
        ((), 64 * MIB, f"[{','.join(['[]'] * (MESSAGE_BYTES // 3))}]"),  # takes 22 times as much when it is decoded
    ],
    ids=["default", "16MiB", "many parts"],
)
def test_a_flood_costs_no_more_than_the_cap_and_ends_with_its_clients(
    serving, guest_token: Callable[[], str], tmp_path, engine, options, cap, data
):
    (tmp_path / "slow_app.py").write_text(APP)
    server = serving("slow_app:app", "--engine", engine, *options, afresh=True)
    pid = server.process.pid
    clients = [
        websocket.create_connection(f"{server.url}?token={guest_token()}", timeout=HANG_S) for _ in range(CLIENTS + 1)
    ]
    neighbour = clients.pop()
    assert count(neighbour) == 0
    baseline = memory_of(pid, "VmRSS")
    text = f'{{"type":"slow","timestamp":1,"data":{data}}}'
    frame = websocket.ABNF.create_frame(text, websocket.ABNF.OPCODE_TEXT).format()
    taken = flood(clients, [frame] * MESSAGES)
    assert taken < CLIENTS * MESSAGES * MESSAGE_BYTES
    assert memory_of(pid, "VmHWM") - baseline <= cap + 32 * MIB
    assert 0 < count(neighbour) <= CLIENTS
    for client in clients:
        client.sock.close()
    for _ in range(CLIENTS):
        server.wait_for("connection.closed")
    assert count(neighbour) <= CLIENTS  # each has had one message handled, and nobody handles the rest
    neighbour.sock.close()
    assert server.stop() == 0

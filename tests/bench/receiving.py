"""What a message costs the client library itself: reading it, counting it, telling it, and handing it to who waits.

    .venv/bin/python -m tests.bench.receiving

The frames come from no socket: what the WebSocket library takes is left out.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from wsclient import Client
from wsclient.greeting import Greeting
from wscore.foreign import ProtocolName, ProtocolSettings, wsctl_adapter
from wscore.wallclock import now_ms

ROUNDS = 15
COUNT = 20_000
FRAMES = {
    ProtocolName.WSCTL: '{"type":"message","timestamp":1700000000000,"sessionId":"a","data":{"text":"hello","n":1}}',
    ProtocolName.JSON: '{"op":"message","id":"7","data":{"text":"hello, as other servers say it","n":1}}',
    ProtocolName.RAW: "hello, as others say it",
}


async def per_message_us(name: ProtocolName, rounds: int = ROUNDS, count: int = COUNT) -> float:
    """Return processor time a message in microseconds, that of the best round, with one watcher."""
    socket: Any = None  # nothing is sent
    best_s = float("inf")
    for _ in range(rounds):
        client = Client("ws://127.0.0.1/", protocol=ProtocolSettings(name=name), inbox_limit=count + 1)
        client.watch(lambda event: None)
        adapter = wsctl_adapter(now_ms) if name is ProtocolName.WSCTL else client.adapter
        greeting, frame = Greeting(socket, adapter), FRAMES[name]
        began_s = time.process_time()
        for _ in range(count):
            await client._handle(frame, greeting)
        best_s = min(best_s, (time.process_time() - began_s) / count)
    return best_s * 1e6


async def _main() -> None:
    for name in FRAMES:
        sys.stdout.write(f"{name:<8} {await per_message_us(name):.2f} µs a message\n")


if __name__ == "__main__":
    asyncio.run(_main())

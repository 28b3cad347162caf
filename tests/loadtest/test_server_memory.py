"""The memory of the server under load: of all processes that listen at its port, whoever takes the place of another."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtest.generator.memory import ServerMemory

LISTEN = """
import socket, sys
listening = socket.socket()
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listening.bind(("127.0.0.1", int(sys.argv[1])))
listening.listen()
held = b"x" * (32 << 20)
print(flush=True)
sys.stdin.read()
"""
HELD_KIB = 32 << 10

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")


@contextmanager
def listener(port: int) -> Iterator[None]:
    command = [sys.executable, "-c", LISTEN, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def test_all_workers_count_and_who_takes_the_place_of_one():
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))  # and listens not
        port = reserved.getsockname()[1]
        with listener(port):
            alone = ServerMemory(None, port).kib()
            assert alone is not None
            with listener(port):
                memory = ServerMemory(None, port)
                both = memory.kib()
                assert both is not None
                assert both > alone + HELD_KIB
            with listener(port):
                exchanged = memory.kib()
                assert exchanged is not None
                assert exchanged > alone + HELD_KIB
            left = memory.kib()
            assert left is not None
            assert left < both - HELD_KIB
        assert memory.kib() is None

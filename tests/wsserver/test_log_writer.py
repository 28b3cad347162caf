"""The log's thread: nobody waits for it, what it keeps is bounded, and what is missing is told where it is missing."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsserver.telemetry.logs import EventLog, LogFormat, configure_logging
from wsserver.telemetry.logwriter import LogWriter

HANG_S = 20
MISSING = re.compile(r"(\d+) lines are missing here: (.*)")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def read_to(end: int, last: bytes) -> list[str]:
    """Read until a line that ends with `last` has come."""
    text = b""
    while not text.endswith(last + b"\n"):
        text += os.read(end, 1 << 16)
    return text.decode().splitlines()


def test_a_pipe_that_nobody_reads_holds_up_nobody_and_costs_a_bounded_memory(pipe):
    readable, writable = pipe
    writer = LogWriter(writable, limit_bytes=100_000)
    for number in range(5000):
        print(f"line {number} {'x' * 90}", file=writer, flush=True)
    assert not writer.settle(0)
    dropped = writer.dropped
    assert dropped > 2500
    # Whoever reads at last sees whole lines in order, and how many are missing where they are missing.
    seen, expected = 0, 0
    text = b""
    while expected < 5000:
        text += os.read(readable, 1 << 16)
        *lines, text = text.split(b"\n")
        for line in lines:
            if missing := MISSING.fullmatch(line.decode()):
                expected += int(missing[1])
            else:
                assert line.decode().split() == ["line", str(expected), "x" * 90]
                expected += 1
                seen += 1
    assert (expected, text) == (5000, b"")
    assert seen == 5000 - dropped
    assert seen * 100 < 100_000 + 65_536 + 65_536  # the queue, the pipe, and what the thread had in its hands
    print("after", file=writer)
    assert read_to(readable, b"after") == ["after"]
    assert writer.settle(HANG_S)
    assert writer.dropped == dropped


def test_lines_that_a_full_disk_refused_are_counted_and_told_once_there_is_room(pipe):
    readable, writable = pipe
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = LogWriter(descriptor)
    for number in range(3):
        print("lost", number, file=writer)
        assert writer.settle(HANG_S)
    assert writer.dropped == 3
    os.dup2(writable, descriptor)
    print("kept", file=writer)
    assert read_to(readable, b"kept") == ["3 lines are missing here: No space left on device", "kept"]
    print("and on", file=writer)
    assert read_to(readable, b"and on") == ["and on"]
    os.close(descriptor)


@pytest.mark.parametrize("how", ["closed", "reader gone"])
def test_a_descriptor_that_takes_nothing_raises_nowhere(how):
    readable, writable = os.pipe()
    os.close(readable)
    writer = LogWriter(writable if how == "reader gone" else readable)
    print("lost", file=writer)
    assert writer.settle(HANG_S)
    assert writer.dropped == 1
    os.close(writable)


def test_a_descriptor_that_somebody_made_non_blocking_still_gets_everything(pipe):
    readable, writable = pipe
    os.set_blocking(writable, False)
    writer = LogWriter(writable)
    for number in range(2000):
        print(f"line {number} {'x' * 90}", file=writer)
    print("last", file=writer)
    assert len(read_to(readable, b"last")) == 2001
    assert writer.settle(HANG_S)
    assert writer.dropped == 0


def test_lines_of_several_threads_stay_whole(pipe):
    readable, writable = pipe
    writer = LogWriter(writable)

    def say(name: str) -> None:
        for _ in range(200):
            writer.write(f"{name * 50}\n")

    threads = [threading.Thread(target=say, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("last", file=writer)
    lines = read_to(readable, b"last")
    assert sorted(lines[:-1]) == sorted(name * 50 for name in "abcd" for _ in range(200))


FORKS = """
import os, sys
from wsserver.telemetry.logwriter import LogWriter
sys.stderr = LogWriter(2)
if os.fork() == 0:
    print("from the child", file=sys.stderr)
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_a_forked_child_says_is_written_by_the_child():
    command = [sys.executable, "-W", "ignore", "-c", FORKS]  # Python 3.12 warns of any fork beside a thread
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=True)
    assert result.stderr == "from the child\n"


@pytest.mark.parametrize("log_format", LogFormat)
def test_what_is_missing_is_told_in_the_format_of_the_log(tmp_path: Path, log_format):
    root, own = logging.getLogger(), logging.getLogger("wsctl")
    saved, level = root.handlers[:], root.level
    path = tmp_path / "log"
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        writer = LogWriter(descriptor)
        configure_logging(log_format, "info", writer)
        EventLog().info("lost")
        writer.settle(HANG_S)
        with path.open("w") as file:
            os.dup2(file.fileno(), descriptor)
        EventLog().info("kept")
        assert writer.settle(HANG_S)
    finally:
        root.handlers[:] = saved
        root.setLevel(level)
        own.setLevel(logging.NOTSET)
        os.close(descriptor)
    told, kept = path.read_text().splitlines()
    if log_format is LogFormat.JSON:
        event = json.loads(told)
        assert (event["event"], event["level"], event["lines"]) == ("log.dropped", "warning", 1)
        assert json.loads(kept)["event"] == "kept"
    else:
        assert told.endswith('WARNING log.dropped lines=1 problem="No space left on device"')
        assert kept.endswith("INFO kept")

"""How a driver's process is run, with scripts that behave in every way a driver may."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap

import pytest

from loadtest import running
from loadtest.running import (
    Driver,
    DriverFailedError,
    NothingMeasuredError,
    Run,
    TargetUnreachableError,
    TokenRefusedError,
)
from loadtest.wire import Phase, Plan, RunProgress, Tokens

HANG_S = 20
URL = "ws://user:pass@127.0.0.1:1/socket.io/"
PLAN = Plan(run_id="r", kind="heartbeat", url=URL, connections=3, drain_s=0.1, tokens=Tokens(secret="hush hush"))
PREAMBLE = """
import json, os, signal, sys, time
plan = json.load(sys.stdin)
def say(**fields):
    print(json.dumps(fields), flush=True)
def progress(elapsed):
    say(type="progress", elapsedS=elapsed, phase="steady", connected=3, wanted=3, sent=1, received=1, errors=0,
        sentPerS=1, receivedPerS=1)
def measured(**fields):
    say(type="measured", run_id=plan["runId"], started_at_ms=0, steady_s=1, peak_connections=plan["connections"],
        connections_opened=3, connections_failed=0, connections_lost=0, sent=1, received=1, **fields)
"""


class Watched(Driver):
    """A driver whose reports and notes can be looked at and waited for."""

    def __init__(self, script: str, plan: Plan = PLAN) -> None:
        self.seconds: list[RunProgress] = []
        self.notes: list[str] = []
        self.began = asyncio.Event()
        command = (sys.executable, "-c", PREAMBLE + textwrap.dedent(script))
        super().__init__(plan, on_progress=self._see, on_note=self.notes.append, command=command)

    def _see(self, progress: RunProgress) -> None:
        self.seconds.append(progress)
        self.began.set()

    async def result(self) -> Run:
        return await asyncio.wait_for(self.run(), HANG_S)


async def test_the_plan_goes_in_and_the_seconds_and_the_result_come_out():
    driver = Watched("progress(1); progress(2); print('ready', file=sys.stderr); measured()")
    run = await driver.result()
    assert run.measured.run_id == "r"
    assert run.measured.peak_connections == 3
    assert [second.elapsed_s for second in run.series] == [1, 2]
    assert list(run.series) == driver.seconds
    assert driver.seconds[0].phase is Phase.STEADY
    assert driver.notes == ["ready"]


async def test_the_secret_is_not_in_the_process_list():
    driver = Watched("print(' '.join(sys.argv), dict(os.environ), file=sys.stderr); measured()")
    await driver.result()
    assert "hush" not in "".join(driver.notes)


async def test_a_result_of_a_megabyte_is_one_line():
    driver = Watched("measured(histograms={'encoded': {'service': 'x' * 1_000_000}})")
    run = await driver.result()
    assert len(run.measured.histograms.encoded["service"]) == 1_000_000


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (3, TargetUnreachableError, "no connection to ws://[redacted]@127.0.0.1:1/socket.io/: connection refused"),
        (4, TokenRefusedError, "the server refused the token: connection refused"),
        (
            4,
            TokenRefusedError,
            "the server lets nobody in: HTTP 403; give what lets you in: --token, -u, --header, "
            "--cookie, or an --origin that it allows",
        ),
        (
            4,
            TokenRefusedError,
            "the server refused the token: SESSION_CREATE_FAILED; --users makes a token for each "
            "connection and its session, with the secret",
        ),
        (1, DriverFailedError, "the load driver failed with 1: connection refused"),
        (0, DriverFailedError, "the load driver failed with 0: connection refused"),
    ],
)
async def test_an_exit_without_a_result_is_an_error_with_the_last_words(code, error, text):
    said = next((words for words in ("HTTP 403", "SESSION_CREATE_FAILED") if words in text), "connection refused")
    with pytest.raises(error) as caught:
        await Watched(f"print('{said}', file=sys.stderr); sys.exit({code})").result()
    assert str(caught.value) == text


async def test_a_traceback_reaches_nobody_but_its_last_line():
    driver = Watched("print('hello', file=sys.stderr, flush=True); raise ValueError('no such thing')")
    with pytest.raises(DriverFailedError, match="failed with 1: ValueError: no such thing"):
        await driver.result()
    assert driver.notes == ["hello"]


async def test_a_result_counts_whatever_the_exit_code():
    assert (await Watched("measured(); sys.exit(3)").result()).measured.sent == 1


async def test_what_is_no_report_is_refused():
    with pytest.raises(DriverFailedError, match="wrote what is no report"):
        await Watched("print('{}', flush=True); time.sleep(60)").result()


async def test_an_interrupt_asks_for_what_was_measured():
    driver = Watched("""
        try:
            progress(1)
            time.sleep(60)
        except KeyboardInterrupt:
            measured(was_interrupted=True)
    """)
    running_it = asyncio.create_task(driver.result())
    await asyncio.wait_for(driver.began.wait(), HANG_S)
    driver.interrupt()
    run = await running_it
    assert run.measured.was_interrupted


async def test_a_second_interrupt_kills_it_and_all_that_it_started(tmp_path):
    driver = Watched(f"""
        signal.signal(signal.SIGINT, lambda *_: open({str(tmp_path / "once")!r}, "w").close())
        if not (child := os.fork()):
            signal.pause(); time.sleep(60)
        progress(child)
        while True: time.sleep(60)
    """)
    running_it = asyncio.create_task(driver.result())
    await asyncio.wait_for(driver.began.wait(), HANG_S)
    driver.interrupt()
    async with asyncio.timeout(HANG_S):
        while not (tmp_path / "once").exists():
            await asyncio.sleep(0.01)
    driver.interrupt()
    with pytest.raises(NothingMeasuredError, match="interrupted before"):
        await running_it
    child = int(driver.seconds[0].elapsed_s)
    assert child != os.getpid()
    async with asyncio.timeout(HANG_S):
        while is_alive(child):
            await asyncio.sleep(0.01)


async def test_a_driver_that_ignores_the_interrupt_is_killed_after_a_while(monkeypatch):
    monkeypatch.setattr(running, "STOP_S", 0.1)
    driver = Watched("signal.signal(signal.SIGINT, signal.SIG_IGN); progress(1); time.sleep(60)")
    running_it = asyncio.create_task(driver.result())
    await asyncio.wait_for(driver.began.wait(), HANG_S)
    driver.interrupt()
    with pytest.raises(NothingMeasuredError):
        await running_it


async def test_a_driver_that_falls_silent_is_an_error(monkeypatch):
    monkeypatch.setattr(running, "SILENCE_S", 0.2)
    with pytest.raises(DriverFailedError, match="was silent for"):
        await Watched("progress(1); time.sleep(60)").result()


async def test_a_driver_that_does_not_leave_after_its_result_is_killed(monkeypatch):
    monkeypatch.setattr(running, "STOP_S", 0.1)
    assert (await Watched("measured(); os.close(1); time.sleep(60)").result()).measured.sent == 1


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

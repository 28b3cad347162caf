"""The pool of worker processes: order, isolation, and what becomes of calls that hang, crash or raise."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from wscore.errors import ConfigError
from wsserver.voice.stages import StageError
from wsserver.voice.workers.pool import Pool

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ENGINE = "engines_for_the_pool:Moody"
HANG_S = 30  # only to end a test that would hang
SECRET = b"what the caller said"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def importable_engine() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(HERE), *sys.path])
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    """Two workers for all tests; calls may take a second."""
    pool = Pool("moody", ENGINE, size=2, timeout_ms=1000)
    await pool.open()
    yield pool
    await pool.close()


@pytest_asyncio.fixture(loop_scope="module")
async def both(pool: Pool) -> Pool:
    """The pool with both of its workers, whatever the test before did to them."""
    await have_workers(pool, 2)
    return pool


async def have_workers(pool: Pool, count: int) -> None:
    async with asyncio.timeout(HANG_S):
        while len(pool.pids) < count:
            await asyncio.sleep(0.01)


async def process_gone(pid: int) -> None:
    async with asyncio.timeout(HANG_S):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


async def test_a_stream_has_a_session_of_its_own_on_one_worker(both):
    one, two = await both.start(), await both.start()
    assert await one.call("tell", b"x") == b"x"
    assert await two.call("tell", b"z") == b"z"
    assert await one.call("tell", b"y") == b"x y"
    assert {int(await one.call("pid")), int(await two.call("pid"))} == set(both.pids)
    assert int(await one.call("niceness")) >= 10
    one.close()
    two.close()


async def test_calls_of_a_stream_keep_their_order_though_made_at_once(both):
    stream = await both.start()
    answers = await asyncio.gather(*(stream.call("tell", b"%d" % number) for number in range(20)))
    assert answers[-1] == b" ".join(b"%d" % number for number in range(20))
    stream.close()


async def test_a_new_stream_goes_to_the_worker_with_the_fewest(both):
    streams = [await both.start() for _ in range(6)]
    pids = [int(await stream.call("pid")) for stream in streams]
    assert sorted(pids.count(pid) for pid in both.pids) == [3, 3]
    for stream in streams:
        stream.close()


async def test_an_exception_fails_its_call_alone_and_its_text_stays_where_it_is(both, caplog):
    stream = await both.start()
    with pytest.raises(StageError, match="moody: failed with ValueError") as error:
        await stream.call("raise", SECRET)
    with pytest.raises(StageError, match="moody: not today"):
        await stream.call("refuse")
    assert await stream.call("tell", b"still here") == b"still here"
    stream.close()
    first, second = (record for record in caplog.records if record.message == "voice.call_failed")
    assert (first.fields["op"], second.fields["op"]) == ("raise", "refuse")
    assert first.fields["place"].startswith("engines_for_the_pool.py:")
    assert SECRET.decode() not in f"{error.value!r} {vars(first)}"


async def test_an_engine_that_prints_or_reads_does_not_garble_the_answers(both):
    stream = await both.start()
    await stream.call("print", b"x" * 1000)
    assert await stream.call("read") == b""
    assert await stream.call("tell", b"fine") == b"fine"
    stream.close()


async def test_an_answer_that_is_too_long_fails_its_call_alone(both):
    stream = await both.start()
    with pytest.raises(StageError, match="moody: answered"):
        await stream.call("large")
    assert await stream.call("tell", b"fine") == b"fine"
    stream.close()


@pytest.mark.parametrize(
    ("op", "payload", "problem"),
    [
        ("sleep", b"600", "sleep took longer than 1000 ms"),
        ("garbage", b"\xff" * 100, "its worker process wrote"),
        ("exit", b"", "its worker process ended with 3"),
    ],
)
async def test_a_worker_that_hangs_or_fails_takes_its_own_streams_along_and_is_replaced(
    both, op, payload, problem, caplog
):
    victim, neighbour = await both.start(), await both.start()
    pid = int(await victim.call("pid"))
    assert await neighbour.call("tell", b"a") == b"a"
    with pytest.raises(StageError, match=problem):
        await victim.call(op, payload)
    with pytest.raises(StageError, match=problem):
        await victim.call("tell")
    assert await neighbour.call("tell", b"b") == b"a b"
    await have_workers(both, 2)
    await process_gone(pid)
    assert pid not in both.pids
    assert "voice.worker_lost" in caplog.text
    another = await both.start()
    assert await another.call("tell", b"c") == b"c"
    for stream in (victim, neighbour, another):
        stream.close()


async def test_a_worker_that_is_killed_fails_the_call_under_way_at_once(both):
    stream = await both.start()
    pid = int(await stream.call("pid"))
    call = asyncio.create_task(stream.call("sleep", b"0.9"))
    await asyncio.sleep(0)  # the call is sent
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(StageError, match="its worker process was ended by SIGKILL"):
        await call
    stream.close()


async def test_a_call_that_nobody_waits_for_any_more_does_not_disturb_the_next(both):
    stream = await both.start()
    call = asyncio.create_task(stream.call("tell", b"1"))
    await asyncio.sleep(0)
    call.cancel()
    assert await stream.call("tell", b"2") == b"1 2"
    stream.close()


async def test_a_closed_stream_answers_nothing(both):
    stream = await both.start()
    call = asyncio.create_task(stream.call("sleep", b"0.1"))
    await asyncio.sleep(0)
    stream.close()
    stream.close()
    with pytest.raises(StageError, match="the stream was closed"):
        await call
    with pytest.raises(StageError, match="the stream was closed"):
        await stream.call("tell")


async def test_who_waits_for_a_busy_worker_too_long_is_told_so_and_may_try_again():
    pool = Pool("moody", ENGINE, size=1, timeout_ms=1000)
    await pool.open()
    streams = [await pool.start() for _ in range(3)]
    busy = [asyncio.create_task(stream.call("sleep", b"0.8")) for stream in streams[:2]]
    await asyncio.sleep(0)
    with pytest.raises(StageError, match="moody: overloaded: no answer within 1000 ms"):
        await streams[2].call("tell", b"x")
    assert await streams[2].call("tell", b"y") == b"x y"
    await asyncio.gather(*busy, return_exceptions=True)
    await pool.close()


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("config", "--model: no such model; take another"),
        ("import", r"moody: cannot import no_such_package.*\[voice\]"),
        ("error", "moody: cannot load: ValueError: no such file: model.bin"),
        ("crash", "moody: its worker process was ended by SIGKILL before it was ready; see whether `python"),
    ],
)
async def test_an_engine_that_cannot_be_loaded_is_an_error_of_the_configuration(trouble, message):
    pool = Pool("moody", ENGINE, {"trouble": trouble}, size=2)
    with pytest.raises(ConfigError, match=message):
        await pool.open()
    assert pool.pids == ()


async def test_an_engine_that_does_not_finish_loading_is_ended():
    before = set(psutil.Process().children())
    pool = Pool("moody", ENGINE, {"trouble": "hang"}, size=1, load_timeout_ms=500)
    with pytest.raises(ConfigError, match=r"did not load within 0\.5 s"):
        await pool.open()
    assert set(psutil.Process().children()) <= before


async def test_a_worker_that_cannot_be_replaced_is_tried_again_more_and_more_rarely(tmp_path, caplog):
    broken = tmp_path / "broken"
    pool = Pool("moody", ENGINE, {"once": str(broken)}, size=1, timeout_ms=300)
    await pool.open()
    broken.touch()
    [pid] = pool.pids
    os.kill(pid, signal.SIGKILL)
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(HANG_S):
            while caplog.text.count("voice.worker_refused") < 2:
                await asyncio.sleep(0.01)
    with pytest.raises(StageError, match="no worker is running"):
        await pool.start()
    broken.unlink()
    await have_workers(pool, 1)
    stream = await pool.start()
    assert await stream.call("tell", b"back") == b"back"
    await pool.close()


async def test_nothing_is_left_when_it_is_closed():
    process = psutil.Process()
    children, descriptors = set(process.children()), process.num_fds()
    for _ in range(3):
        pool = Pool("moody", ENGINE, size=2)
        await pool.open()
        stream = await pool.start()
        call = asyncio.create_task(stream.call("sleep", b"60"))
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(StageError, match="moody: closed"):
            await call
        with pytest.raises(StageError, match="moody: closed"):
            await pool.start()
    assert set(process.children()) <= children
    assert process.num_fds() <= descriptors + 1


ORPHANS = f"""
import asyncio, sys
sys.path.insert(0, {str(HERE)!r})
from wsserver.voice.workers.pool import Pool

async def main():
    pool = Pool("moody", "{ENGINE}", size=2, timeout_ms=1000)
    await pool.open()
    busy = await pool.start()
    asyncio.create_task(busy.call("sleep", b"600"))
    await asyncio.sleep(0)
    print(*pool.pids, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_workers_end_when_the_server_is_killed_even_one_that_hangs():
    server = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert server.stdout is not None
    with server.stdout:
        pids = [int(pid) for pid in (await asyncio.to_thread(server.stdout.readline)).split()]
    assert len(pids) == 2
    server.kill()
    server.wait()
    for pid in pids:
        await process_gone(pid)

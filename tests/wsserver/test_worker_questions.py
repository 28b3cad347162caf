"""What the supervisor asks its workers over a pair of sockets: bounded, in time, and lost with the worker alone."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from wsserver.operations.node import MAX_HISTORY_BYTES, _newest
from wsserver.workers.questions import MAX_FRAME_BYTES, MAX_UNSENT_BYTES, AnswerLine, QuestionLine, WorkerGoneError

HANG_S = 20


@pytest.fixture
def pair():
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


async def opened(line):
    async with asyncio.timeout(HANG_S):
        while line._writer is None:
            await asyncio.sleep(0)


async def ended(line):
    line.close()
    await asyncio.wait((line._reading,))
    await asyncio.sleep(0)  # its transport is told


async def test_answers_come_to_their_questions_whatever_their_order(pair):
    release = asyncio.Event()

    async def respond(question):
        if question == b"slow":
            await release.wait()
        return question.upper()

    asks, answers = QuestionLine(pair[0]), AnswerLine(pair[1], respond)
    await opened(asks)
    slow = asyncio.create_task(asks.ask(b"slow", HANG_S))
    assert await asks.ask(b"quick" * 100_000, HANG_S) == b"QUICK" * 100_000
    with pytest.raises(TimeoutError):
        await asks.ask(b"slow", 0.05)
    assert asks.is_late
    release.set()
    assert await slow == b"SLOW"
    assert not asks.is_late
    assert await asks.ask(b"again", HANG_S) == b"AGAIN"  # the answer that came too late is no other's
    await ended(asks)
    await ended(answers)


async def test_a_worker_that_goes_answers_nothing_more_and_nobody_waits_for_it(pair):
    asks = QuestionLine(pair[0])
    await opened(asks)
    waiting = asyncio.create_task(asks.ask(b"x", HANG_S))
    await asyncio.sleep(0)
    pair[1].close()
    with pytest.raises(WorkerGoneError):
        await waiting
    with pytest.raises(WorkerGoneError):
        await asks.ask(b"x", HANG_S)
    await ended(asks)


async def test_a_worker_that_reads_nothing_is_sent_a_bounded_number_of_bytes(pair):
    asks = QuestionLine(pair[0])
    await opened(asks)
    tries = 0
    while not asks.is_late or tries < 60:
        with pytest.raises(TimeoutError):
            await asks.ask(b"x" * (1 << 20), 0)
        tries += 1
    assert asks._writer.transport.get_write_buffer_size() <= MAX_UNSENT_BYTES + (2 << 20)
    await ended(asks)


async def test_a_frame_that_is_too_large_is_not_waited_for(pair):
    asks = QuestionLine(pair[0])
    await opened(asks)
    waiting = asyncio.create_task(asks.ask(b"x", HANG_S))
    await asyncio.sleep(0)
    pair[1].sendall(struct.pack("!II", MAX_FRAME_BYTES + 1, 1))
    with pytest.raises(WorkerGoneError):
        await waiting
    await ended(asks)


def test_of_a_long_history_the_newest_part_is_answered():
    events = [bytes([number]) * (1 << 20) for number in range(12)]
    assert _newest(events, MAX_HISTORY_BYTES) == events[-8:]
    assert _newest(events[:3], MAX_HISTORY_BYTES) == events[:3]
    assert _newest([events[0] * 20], MAX_HISTORY_BYTES) == [events[0] * 20]

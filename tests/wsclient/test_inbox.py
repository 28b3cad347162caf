"""The inbox alone: its bound, its order, and its end."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from wsclient.inbox import MAX_BYTES, Inbox
from wscore.envelope import Envelope

HANG_S = 20


async def turns_of_the_loop() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("how", ["taken", "cancelled"])
async def test_the_bound_holds_again_once_nobody_waits(how):
    inbox = Inbox(limit=2)
    waiting = asyncio.create_task(inbox.take())
    await turns_of_the_loop()
    if how == "taken":
        await inbox.put(Envelope("first", 1))
    else:
        waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await inbox.put(Envelope("a", 1))
    await inbox.put(Envelope("b", 1))
    third = asyncio.create_task(inbox.put(Envelope("c", 1)))
    await turns_of_the_loop()
    assert not third.done()
    assert (await inbox.take()).type == "a"
    async with asyncio.timeout(HANG_S):
        await third
    assert [(await inbox.take()).type for _ in range(2)] == ["b", "c"]


async def test_what_came_before_the_end_is_still_given_out():
    inbox = Inbox(limit=2)
    await inbox.put(Envelope("a", 1))
    inbox.end(LookupError("over"))
    with pytest.raises(LookupError, match="over"):
        await inbox.take("b")
    assert (await inbox.take()).type == "a"
    for _ in range(2):
        with pytest.raises(LookupError, match="over"):
            await inbox.take()


async def test_the_end_reaches_everybody_who_waits():
    inbox = Inbox(limit=2)
    waiting = [asyncio.create_task(inbox.take(type)) for type in (None, "a", "b")]
    await turns_of_the_loop()
    inbox.end(LookupError("over"))
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3


async def test_what_came_in_the_moment_of_a_cancellation_keeps_its_place():
    inbox = Inbox(limit=9)
    await inbox.put(Envelope("a", 1))
    waiting = asyncio.create_task(inbox.take("b"))
    await turns_of_the_loop()
    await inbox.put(Envelope("b", 1))
    waiting.cancel()
    await inbox.put(Envelope("c", 1))
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [(await inbox.take()).type for _ in range(3)] == ["a", "b", "c"]


async def test_a_long_wait_for_one_type_looks_at_each_other_envelope_once():
    class Counted(Envelope):
        looks = 0

        def __getattribute__(self, name):
            if name == "type":
                Counted.looks += 1
            return super().__getattribute__(name)

    inbox = Inbox(limit=2)
    waiting = asyncio.create_task(inbox.take("rare"))
    await turns_of_the_loop()
    for _ in range(500):
        await inbox.put(Counted("common", 1))
        await asyncio.sleep(0)
    await inbox.put(Envelope("rare", 1))
    assert (await waiting).type == "rare"
    assert Counted.looks == 500


async def test_seeking_makes_room_for_what_stands_behind_the_bound():
    inbox = Inbox(limit=1)
    await inbox.put(Envelope("a", 1))
    second = asyncio.create_task(inbox.put(Envelope("b", 1)))
    await turns_of_the_loop()
    assert not second.done()
    with inbox.seeking():
        async with asyncio.timeout(HANG_S):
            await second
    third = asyncio.create_task(inbox.put(Envelope("c", 1)))
    await turns_of_the_loop()
    assert not third.done()
    third.cancel()


async def test_few_messages_that_are_large_fill_it_too():
    inbox = Inbox(limit=1000)
    large = Envelope("large", 1, None, msgspec.Raw(b"1" * (MAX_BYTES // 2)))
    await inbox.put(large)
    await inbox.put(large)
    third = asyncio.create_task(inbox.put(Envelope("c", 1)))
    await turns_of_the_loop()
    assert not third.done()
    assert (await inbox.take()).type == "large"
    async with asyncio.timeout(HANG_S):
        await third
    assert [(await inbox.take()).type for _ in range(2)] == ["large", "c"]

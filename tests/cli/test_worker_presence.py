"""Presence over real workers: one is killed, stands still or is exchanged, and nobody flickers or stays for ever."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import uuid
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

HANG_S = 60
DEAD_S = 20  # when one that was killed is surely given up
STOPPED_S = 5


class Member:
    """A client in the hall that comes back whenever it is cut off, and what it was told of the others."""

    def __init__(self, url: str, moved: asyncio.Event, worker: int | None) -> None:
        guest = uuid.uuid4()
        self.user = f"guest_{guest}"
        self.url = f"{url}?token=guest_{guest}_{time.time_ns() // 1_000_000}&sessionId={guest}"
        self.moved = moved
        self.wanted = worker  # the first time
        self.known: set[str] = set()
        self.lists: list[set[str]] = []
        self.joined: list[str] = []
        self.left: list[str] = []
        self.is_in = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            with suppress(ConnectionClosed, InvalidHandshake, OSError):
                async with connect(self.url, proxy=None, ping_interval=None) as ws:
                    worker = json.loads(await ws.recv())["data"]["worker"]
                    if self.wanted not in (None, worker):
                        continue
                    self.wanted = None
                    join = {"type": "room.join", "timestamp": 1, "data": {"room": "hall", "presence": True}}
                    await ws.send(json.dumps(join))
                    async for text in ws:
                        self._take(json.loads(text))
            self.is_in = False
            await asyncio.sleep(0.02)

    def _take(self, envelope: dict) -> None:
        data = envelope["data"]
        if envelope["type"] == "room.joined":
            self.known = set(data["members"])
            self.lists.append(set(data["members"]))
            self.is_in = True
        elif envelope["type"] == "presence":
            joined, left = set(data["joined"]), set(data["left"])
            assert not joined & self.known, "told of whom it knows"
            assert left <= self.known, "told that somebody left who was not there"
            self.known = (self.known | joined) - left
            assert data["count"] == len(self.known)
            self.joined += joined
            self.left += left
        self.moved.set()


class Hall:
    """The workers, and who is in the hall."""

    def __init__(self, process) -> None:
        self.process = process
        self.moved = asyncio.Event()
        self.members: list[Member] = []
        self.pids: dict[int, int] = {}
        self.url = ""
        for line in process.stderr:
            if " worker.serving " in line:
                fields = dict(part.partition("=")[::2] for part in line.split())
                self.pids[int(fields["slot"])] = int(fields["pid"])
            if line.startswith("wsctl serves "):
                self.url = line.split()[2]
                return
        raise AssertionError("it does not serve")

    async def join(self, worker: int) -> Member:
        member = Member(self.url, self.moved, worker)
        self.members.append(member)
        await self.until(lambda: member.is_in)
        return member

    async def until(self, is_so) -> None:
        async with asyncio.timeout(HANG_S):
            while not is_so():
                self.moved.clear()
                for member in self.members:
                    if member.task.done():
                        member.task.result()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.moved.wait(), 1)

    async def know(self, *expected: Member) -> None:
        """Wait until all know these members, and no others."""
        users = {member.user for member in expected}
        await self.until(lambda: all(member.is_in and member.known == users for member in self.members))

    def forget(self) -> None:
        for member in self.members:
            member.lists, member.joined, member.left = [], [], []

    async def quit(self, member: Member) -> None:
        self.members.remove(member)
        member.task.cancel()
        await asyncio.wait([member.task])


@pytest.fixture
async def hall(start_wsctl, redis):
    hall = Hall(start_wsctl("serve", "--port", "0", "--workers", "2", "--broker", redis.url))
    yield hall
    for member in tuple(hall.members):
        await hall.quit(member)


@pytest.mark.slow
async def test_who_is_at_a_worker_that_is_exchanged_has_not_been_away(hall):
    members = [await hall.join(number % 2) for number in range(4)]
    await hall.know(*members)
    hall.forget()
    hall.process.send_signal(signal.SIGHUP)

    def rolled() -> None:
        for line in hall.process.stderr:
            if " workers.rolled" in line:
                return

    await asyncio.get_running_loop().run_in_executor(None, rolled)
    await hall.know(*members)
    users = {member.user for member in members}
    for member in members:
        assert not member.joined
        assert not member.left
        assert member.lists, "it was not cut off"
        assert all(known == users for known in member.lists)
    leaver = members.pop()
    await hall.quit(leaver)
    await hall.know(*members)
    assert {tuple(member.left) for member in members} == {(leaver.user,)}


@pytest.mark.slow
async def test_a_worker_that_stands_still_for_5_s_has_lost_nobody(hall):
    far, near = await hall.join(0), await hall.join(1)
    await hall.know(far, near)
    os.kill(hall.pids[0], signal.SIGSTOP)
    await asyncio.sleep(STOPPED_S)
    os.kill(hall.pids[0], signal.SIGCONT)
    late = await hall.join(1)
    await hall.know(far, near, late)
    for member in (far, near):
        assert (member.joined[-1], member.left) == (late.user, [])
        assert len(member.lists) == 1
    assert near.joined == [late.user]


@pytest.mark.slow
async def test_of_a_worker_that_is_killed_those_have_left_who_do_not_come_back(hall):
    watcher, back, lost = await hall.join(1), await hall.join(0), await hall.join(0)
    await hall.know(watcher, back, lost)
    hall.forget()
    killed_s = time.monotonic()
    os.kill(hall.pids[0], signal.SIGKILL)
    await hall.quit(lost)
    await hall.know(watcher, back)
    assert time.monotonic() - killed_s > 5
    await asyncio.sleep(max(0, killed_s + DEAD_S + 2 - time.monotonic()))  # nobody is told of anything more
    assert (watcher.lists, watcher.joined, watcher.left) == ([], [], [lost.user])
    # A worker that was started anew has not heard of who was lost with the one before.
    (known,) = back.lists
    assert known - {lost.user} == {watcher.user, back.user}
    assert (back.joined, back.left) == ([], sorted(known & {lost.user}))

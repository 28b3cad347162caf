"""A client in a room, and what it was told of who else is there."""

from __future__ import annotations

import asyncio

from tests.wsserver.conftest import HANG_S


class Member:
    """A client, and whom it knows to be in the hall."""

    def __init__(self, client) -> None:
        self.client = client
        self.known: set[str] = set()
        self.wholes = 0

    async def join(self, *, presence: bool = True) -> Member:
        await self.client.send("room.join", {"room": "hall", "presence": presence}, id="j")
        data = (await self.client.receive_type("room.joined"))["data"]
        if presence:
            self.known = set(data["members"])
            assert len(self.known) == data["memberCount"] == len(data["members"])
        return self

    def take(self, data: dict) -> None:
        joined, left = set(data["joined"]), set(data["left"])
        assert not joined & self.known, "told of whom it knows"
        assert left <= self.known, "told that somebody left who was not there"
        self.known = (self.known | joined) - left
        assert len(self.known) == data["count"]
        if "members" in data:
            assert set(data["members"]) == self.known
            self.wholes += 1

    async def knows(self, *users: str) -> None:
        async with asyncio.timeout(HANG_S):
            while self.known != set(users):
                self.take((await self.client.receive_type("presence"))["data"])

    async def hears_nothing(self) -> None:
        """All that was sent before the pong has come, and nothing of presence was in it."""
        await self.client.send("ping", id="p")
        while (envelope := await self.client.receive())["type"] != "pong":
            assert envelope["type"] != "presence", envelope

"""What processes tell each other about rooms, over a Redis: it stores nothing of that.

What concerns a room goes over the channel of its messages, to those who have members of it. Redis says to how many.
"""

from __future__ import annotations

from collections.abc import Callable

from wsserver.brokers.base import ROOM, Peers
from wsserver.brokers.redisbackplane import RedisBackplane
from wsserver.brokers.redisgroups import NOTE, RedisGroups


class RedisPeers:
    """The channels on which this process is told, and the way to those of the others."""

    def __init__(self, prefix: str, backplane: RedisBackplane, groups: RedisGroups) -> None:
        self._to_all = f"{prefix}peers"
        self._backplane = backplane
        self._groups = groups
        self._was_up = False
        for channel in (self._to_all, self._channel(backplane.producer)):
            groups.others[channel] = self.take

    def attach(self, peers: Peers) -> None:
        """Name what is told."""
        self._groups.peers = peers

    def take(self, note: bytes) -> None:
        """Hand on what came to all or to this process."""
        if self._groups.peers is not None:
            self._groups.peers.take(note)

    def tell(
        self, note: bytes, room: str | None, process: str | None, reached: Callable[[int], None] | None = None
    ) -> bool:
        """Say something; returns whether it is on its way."""

        def replied(reply: object) -> None:
            if reached is not None and isinstance(reply, int):
                reached(reply)

        if room is not None and process is None:
            return self._backplane.send(self._groups.keys(ROOM, room).channel, NOTE + note, replied)
        return self._backplane.send(self._to_all if process is None else self._channel(process), note, replied)

    def changed(self) -> None:
        """Tell that Redis is reached again."""
        was_up, self._was_up = self._was_up, self._backplane.is_up
        if self._was_up and not was_up and self._groups.peers is not None:
            self._groups.peers.reached()

    def check(self) -> None:
        """Have done what is due."""
        if self._groups.peers is not None:
            self._groups.peers.check()

    def leave(self) -> None:
        """Have goodbye said."""
        if self._groups.peers is not None:
            self._groups.peers.leave()

    def _channel(self, process: str) -> str:
        return f"{self._to_all}:{process}"

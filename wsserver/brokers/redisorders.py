"""Orders that processes give each other over a Redis, which stores none of them: to all, or to one."""

from __future__ import annotations

from collections.abc import Callable

from wsserver.brokers.base import TakeOrder, Topic
from wsserver.brokers.redisbackplane import RedisBackplane


class RedisOrders:
    """The channels on which this process takes orders, and the way to those of the others."""

    def __init__(self, prefix: str, backplane: RedisBackplane, takers: dict[str, Callable[[bytes], None]]) -> None:
        self._prefix = prefix
        self._backplane = backplane
        self._own = backplane.producer.encode()
        self._takers = takers  # by channel

    def attach(self, take: TakeOrder, topic: Topic) -> None:
        """Name what takes the orders of a topic; it hears of none that this process has given itself."""

        def arrived(published: bytes) -> None:
            sender, _, packed = published.partition(b":")
            if sender != self._own:
                take(packed)

        for channel in (f"{self._prefix}{topic}", self._channel(topic, self._backplane.producer)):
            self._takers[channel] = arrived

    def order(self, packed: bytes, process: str | None, topic: Topic) -> bool:
        """Hand an order to all other processes, or to one; False while Redis is away."""
        channel = f"{self._prefix}{topic}" if process is None else self._channel(topic, process)
        return self._backplane.send(channel, b"%b:%b" % (self._own, packed))

    def _channel(self, topic: Topic, process: str) -> str:
        return f"{self._prefix}{topic}:{process}"

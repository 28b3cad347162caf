"""Notices the end of peers that are not read: the event loop sees the end of a connection only where it reads."""

from __future__ import annotations

import asyncio
import select

from wsserver.engines.channel import Channel


class PeerCloseWatcher:
    """Drops a connection that is held back once its peer has closed it.

    Linux only, by an epoll of its own that the loop watches. Elsewhere it shows when a heartbeat cannot be written.
    """

    __slots__ = ("_channels", "_descriptors", "_epoll", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._channels: dict[int, Channel] = {}
        self._descriptors: dict[Channel, int] = {}
        self._epoll: select.epoll | None = None

    def watch(self, channel: Channel) -> None:
        """Abort the connection when its peer closes it, until `forget`."""
        descriptor = channel.descriptor
        if descriptor < 0 or not hasattr(select, "epoll"):
            return
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._look)
        self._epoll.register(descriptor, select.EPOLLRDHUP)
        self._channels[descriptor] = channel
        self._descriptors[channel] = descriptor

    def forget(self, channel: Channel) -> None:
        """Watch a connection no more."""
        descriptor = self._descriptors.pop(channel, None)
        if descriptor is None or self._epoll is None:
            return
        del self._channels[descriptor]
        if channel.descriptor == descriptor:  # else it is closed, and the kernel has forgotten it
            self._epoll.unregister(descriptor)
        if not self._channels:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _look(self) -> None:
        assert self._epoll is not None
        gone = [self._channels[descriptor] for descriptor, _ in self._epoll.poll(0)]
        for channel in gone:
            self.forget(channel)
            channel.abort()

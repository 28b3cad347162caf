"""An asyncio event loop that runs in one greenlet and leaves Locust's greenlets their share of the thread."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import gevent
import gevent.event
from gevent.monkey import get_original

T = TypeVar("T")

# Below this a wait is the kernel's: it ends within some 60 us, a timer of gevent's hub up to 1 ms late.
SHORT_WAIT_S: Final = 0.002
# How long a loop that always has something to do keeps the other greenlets waiting.
MAX_TURN_S: Final = 0.01

_select = get_original("select", "select")
_READ: Final = selectors.EVENT_READ
_WRITE: Final = selectors.EVENT_WRITE


class HubSelector(selectors.BaseSelector):
    """Asks the kernel's epoll itself, and gevent's hub only to wait: the hub watches one descriptor, the epoll's own.

    gevent's selector arms a watcher per socket and wait, which costs more than the message that comes out of it.
    """

    def __init__(self) -> None:
        self._epoll = get_original("select", "epoll")()
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._watcher = gevent.get_hub().loop.io(self._epoll.fileno(), 1)
        self._turn = gevent.get_hub().loop.timer(0)
        self._yielded_at = time.monotonic()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is already registered")
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        self._epoll.register(fd, _mask(events))
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self._keys.pop(self._find(fileobj))
        with suppress(OSError):  # a descriptor that was closed is out already
            self._epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = self._find(fileobj)
        key = self._keys[fd]
        if events != key.events:
            self._epoll.modify(fd, _mask(events))
        key = self._keys[fd] = key._replace(events=events, data=data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._epoll.poll(0, max(1, len(self._keys)))
        if ready or (timeout is not None and timeout <= 0):
            self._yield_sometimes()
        elif timeout is not None and timeout < SHORT_WAIT_S:
            _select((self._epoll,), (), (), timeout)
            ready = self._epoll.poll(0, max(1, len(self._keys)))
            self._yield_sometimes()
        else:
            self._wait(timeout)
            ready = self._epoll.poll(0, max(1, len(self._keys)))
        keys = self._keys
        # bit 1 of epoll's mask is reading, bit 4 writing; an error or a hang-up wakes both
        return [
            (key, key.events & ((_READ if mask & ~4 else 0) | (_WRITE if mask & ~1 else 0)))
            for fd, mask in ready
            if (key := keys.get(fd)) is not None
        ]

    def close(self) -> None:
        self._watcher.close()
        self._turn.close()
        self._epoll.close()
        self._keys.clear()

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[self._find(fileobj)]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {key.fileobj: key for key in self._keys.values()}

    def _find(self, fileobj: Any) -> int:
        try:
            fd = _descriptor(fileobj)
        except ValueError:  # closed meanwhile
            fd = next((key.fd for key in self._keys.values() if key.fileobj is fileobj), -1)
        if fd not in self._keys:
            raise KeyError(f"{fileobj!r} is not registered")
        return fd

    def _wait(self, timeout: float | None) -> None:
        # The hub's timers are up to 1 ms late: it wakes early, and the rest is a short wait.
        seconds = None if timeout is None else timeout - SHORT_WAIT_S / 2
        with gevent.Timeout(seconds, False):
            gevent.get_hub().wait(self._watcher)
        self._yielded_at = time.monotonic()

    def _yield_sometimes(self) -> None:
        now = time.monotonic()
        if now - self._yielded_at > MAX_TURN_S:
            # Not sleep(0), which comes back before the hub has looked at its timers and sockets.
            gevent.get_hub().wait(self._turn)
            self._yielded_at = time.monotonic()


def _descriptor(fileobj: Any) -> int:
    fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if fd < 0:
        raise ValueError(f"{fileobj!r} has no descriptor")
    return int(fd)


def _mask(events: int) -> int:
    return (1 if events & _READ else 0) | (4 if events & _WRITE else 0)


class LoopGreenlet:
    """The process's event loop, running in a greenlet from `start` to `stop`.

    Everything runs in one thread: other greenlets run while the loop waits, and may call what does not block.
    """

    def __init__(self) -> None:
        self.loop = asyncio.SelectorEventLoop(HubSelector() if _has_epoll() else None)
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Start the loop."""
        self._greenlet = gevent.spawn(self.loop.run_forever)

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run a coroutine on the loop; callable from every greenlet."""
        task = self.loop.create_task(coroutine)
        self.wake()
        return task

    def wake(self) -> None:
        """Let the loop see at once what another greenlet has scheduled."""
        self.loop.call_soon_threadsafe(lambda: None)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its result in the greenlet that calls."""
        result: Any = gevent.event.AsyncResult()

        def done(task: asyncio.Future[T]) -> None:
            if task.cancelled():
                result.set_exception(asyncio.CancelledError())
            elif (error := task.exception()) is not None:
                result.set_exception(error)
            else:
                result.set(task.result())

        task = self.spawn(coroutine)
        task.add_done_callback(done)
        try:
            value: T = result.get()
        except gevent.GreenletExit:
            self.loop.call_soon_threadsafe(task.cancel)
            raise
        return value

    def stop(self) -> None:
        """Stop the loop and close it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        if self._greenlet is not None:
            self._greenlet.join(timeout=5)
        if not self.loop.is_running():
            self.loop.close()


def _has_epoll() -> bool:
    try:
        get_original("select", "epoll")
    except AttributeError:
        return False
    return True

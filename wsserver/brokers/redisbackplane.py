"""What all processes share, as one Redis keeps it: batches go out once and in order, answers come back (section 8).

The broker calls it with a group's names and packed batches. It never knows what a message says, or who is in a group.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from wscore.recovery import Position
from wsserver.brokers.batches import CorruptBatchError, Item, read_items
from wsserver.brokers.redislink import REFUSALS, RedisLink
from wsserver.brokers.redisqueue import (
    GIVE_UP_S,
    MAX_QUEUED_BYTES,
    Keys,
    NotStored,
    PublishQueue,
    QueuedBatch,
    Stored,
)
from wsserver.brokers.redisrevokedscripts import READ_REVOKED, WRITE_REVOKED
from wsserver.brokers.redisscripts import HISTORY, HISTORY_SHA, PUBLISH, PUBLISH_SHA, refusal, refusal_code
from wsserver.brokers.redistarget import RedisTarget
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

SILENCE_S: Final = 5.0  # without a sign of life a subscription is asked for one
SUBSCRIBED_AT_ONCE: Final = 500  # channels in one command
# What Redis answers while it cannot do anything, and what another connection may do.
_ELSEWHERE: Final = (
    "NOSCRIPT",
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "BUSY ",
    "UNKILLABLE",
    "NOREPLICAS",
    "CLUSTERDOWN",
)


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """How much of a group is kept, and how long its keys live, in seconds."""

    messages: int
    size: int
    lives_s: int


class RedisBackplane:
    """Two connections to one Redis: one to call, one that is subscribed.

    `on_batch` gets what a channel brought, `on_subscribed` each channel whose subscription took effect, `on_change` is
    told that the whole is up or down, `on_refused` that Redis does not let us in. `producer` is a name that no other
    process has. `now_s` is the monotonic clock.
    """

    def __init__(
        self,
        target: RedisTarget,
        prefix: str,
        producer: str,
        limits: StoreLimits,
        *,
        on_batch: Callable[[str, bytes], None],
        on_subscribed: Callable[[str], None],
        on_change: Callable[[], None],
        on_refused: Callable[[str], None],
        now_s: Callable[[], float],
        metrics: Metrics,
        log: EventLog,
    ) -> None:
        self._limits = limits
        self._on_batch = on_batch
        self._on_subscribed = on_subscribed
        self._on_change = on_change
        self._on_refused = on_refused
        self._now_s = now_s
        self._log = log
        self.producer = producer
        self._run_id = self._feed_run_id = ""
        self._epoch, self._epochs = new_epoch(), count()
        self._queue = PublishQueue(now_s, metrics.publish_time)
        self._asked_s: float | None = None  # when it was asked that owed nothing
        self._broker_time = metrics.broker_time
        self._losses = metrics.broker_losses
        self._emptied: asyncio.Event | None = None  # while the end waits for that
        self._replies: deque[Callable[[Any], None]] = deque()
        self._channels: dict[bytes, str] = {}  # by their names as Redis says them
        self._probe = f"{prefix}probe:{self.producer}"
        self._heard_s = self._answered_s = now_s()
        self._is_heard = False  # since that was last looked at
        self._probed_s: float | None = None
        self._hears = False  # whether the subscription has brought anything
        self._calls = RedisLink(
            "publish",
            target,
            (PUBLISH, HISTORY, READ_REVOKED, WRITE_REVOKED),
            on_up=self._calls_up,
            on_reply=self._answered,
            on_down=self._calls_down,
            on_refused=on_refused,
            log=log,
        )
        self._feed = RedisLink(
            "subscribe",
            target,
            (),
            on_up=self._feed_up,
            on_reply=self._pushed,
            on_down=self._feed_down,
            on_refused=on_refused,
            gathers=True,
            log=log,
        )

    @property
    def is_up(self) -> bool:
        """Whether both connections are, and what others publish comes here."""
        return self._calls.is_up and self._hears

    @property
    def problem(self) -> str:
        """Why the last try to dial failed, empty if it did not."""
        return self._calls.problem or self._feed.problem

    @property
    def waiting(self) -> int:
        """What is to be stored and is not yet, in bytes."""
        return self._queue.size

    @property
    def is_subscribed(self) -> bool:
        """Whether what others publish comes here."""
        return self._hears

    def start(self) -> None:
        """Dial."""
        self._calls.start()
        self._feed.start()

    async def stop(self, within_s: float) -> None:
        """Wait so long for what is on its way, then hang up."""
        if self._replies and self._calls.is_up:
            self._emptied = asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), within_s)
        await self._feed.stop()
        await self._calls.stop()
        self._queue.tell_all(NotStored("the server stops", is_unknown=True))

    def publish(self, keys: Keys, packed: bytes, done: Callable[[Stored | NotStored], None]) -> None:
        """Store a batch and tell every subscriber; `done` is called once, perhaps at once."""
        call = self._queue.put(keys, packed, done)
        if call is not None:
            self._send(call)

    def hold(self) -> None:
        """Have what is called wait for `release`, and not for another turn of the event loop."""
        self._calls.hold()

    def release(self) -> None:
        """Have it go out, in one write."""
        self._calls.release()

    def announce(self, keys: Keys, packed: bytes) -> bool:
        """Tell every subscriber of a batch without numbers, which is not stored; False while it cannot go out."""
        return self.send(keys.channel, b"-:0:0:" + packed)

    def send(self, channel: str, payload: bytes, on_reply: Callable[[Any], None] | None = None) -> bool:
        """Send something to who is subscribed to a channel, `on_reply` gets how many; False while it cannot go out."""
        if not self._calls.is_up or self._calls.unsent_bytes > MAX_QUEUED_BYTES:
            return False
        self._call(on_reply or _ignore, "PUBLISH", channel, payload)
        return True

    def ask(self, done: Callable[[Any], None], *parts: bytes | str | float) -> bool:
        """Send a command; False while it cannot go out. `done` gets the reply, or the error that Redis answers with.

        If the connection is lost meanwhile nothing comes.
        """
        if not self._calls.is_up:
            return False

        def replied(reply: Any) -> None:
            if isinstance(reply, Exception):
                self._is_elsewhere(reply)
            done(reply)

        self._call(replied, *parts)
        return True

    def history(self, keys: Keys, after: int, done: Callable[[Position, list[Item]], None]) -> bool:
        """Ask where a group stands and for all behind a seq; False while there is no connection, then nothing comes."""
        if not self._calls.is_up:
            return False
        limits = self._limits

        def read(reply: Any) -> None:
            if isinstance(reply, Exception):
                self._is_elsewhere(reply)
                return  # whoever waits for it asks again
            epoch, seq, found = reply
            try:
                items = [item for packed in found for item in read_items(packed)]
            except CorruptBatchError:
                items = []  # then it is a loss that is told of
            done(Position(epoch.decode(), int(seq)), items)

        self._call(
            read,
            *("EVALSHA", HISTORY_SHA, 2, keys.meta, keys.log, self._run_id, self._fresh_epoch(), limits.lives_s),
            *(after, limits.messages, limits.size),
        )
        return True

    def delete(self, keys: Keys, done: Callable[[], None]) -> bool:
        """Have nothing kept of a group; False while there is no connection, then nothing comes."""
        if not self._calls.is_up:
            return False
        self._call(lambda reply: None if isinstance(reply, Exception) else done(), "DEL", keys.meta, keys.log)
        return True

    def subscribe(self, channel: str) -> None:
        """Have a channel's batches come; `on_subscribed` says from when on."""
        self._channels[channel.encode()] = channel
        self._feed.call("SUBSCRIBE", channel)

    def unsubscribe(self, channel: str) -> None:
        """Have them come no more."""
        if self._channels.pop(channel.encode(), None) is not None:
            self._feed.call("UNSUBSCRIBE", channel)

    def check(self) -> None:
        """Look after the connections; called about once a second."""
        now_s = self._now_s()
        self._queue.tell_waiting()
        if not (self._calls.is_up and self._feed.is_up):
            return
        if self._replies and now_s - self._answered_s > GIVE_UP_S:
            self._calls.give_up("it does not answer")
        if self._is_heard:
            self._is_heard = False
            self._heard_s, self._probed_s = now_s, None
        if self._probed_s is not None:
            if now_s - self._probed_s > SILENCE_S:
                self._feed.give_up("its subscription brings nothing")
        elif now_s - self._heard_s > SILENCE_S:
            self._probed_s = now_s
            self._call(_ignore, "PUBLISH", self._probe, "")

    def _call(self, on_reply: Callable[[Any], None], *parts: bytes | str | float) -> None:
        if not self._replies:
            self._answered_s = self._asked_s = self._now_s()  # it owed nothing until now
        self._replies.append(on_reply)
        self._calls.call(*parts)

    def _send(self, call: QueuedBatch) -> None:
        if not self._calls.is_up:
            return
        call.is_sent = True
        limits, keys = self._limits, call.keys
        self._call(
            self._stored,
            *("EVALSHA", PUBLISH_SHA, 2, keys.meta, keys.log, keys.channel, self._run_id, self._fresh_epoch()),
            *(self.producer, call.number, limits.messages, limits.lives_s, call.packed),
        )

    def _fresh_epoch(self) -> str:
        return f"{self._epoch}{next(self._epochs):x}"  # a random one for each call would cost more than the call

    def _stored(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            if self._is_elsewhere(reply):
                return
            answer: Stored | NotStored = NotStored(refusal_code(reply))
        else:
            epoch, first, _ = reply
            answer = Stored(epoch.decode(), int(first))
        self._queue.answered(answer)

    def _is_elsewhere(self, error: Exception) -> bool:
        """Tell whether another connection may do what Redis refused here; then this one is dropped."""
        problem = refusal(error)
        if problem.startswith(_ELSEWHERE):
            self._calls.give_up(problem)
            return True
        self._log.warning("broker.refused", problem=problem[:200])
        if problem.startswith(REFUSALS):
            self._on_refused(problem)
        return False

    def _calls_up(self, run_id: str) -> None:
        self._run_id = run_id
        if self._feed_run_id != run_id:
            self._feed.give_up("the other connection reached another Redis")
        self._replies.clear()
        self._asked_s = None
        self._answered_s = self._now_s()
        self._queue.forget_old()
        for call in self._queue:  # unchanged and in order: the script knows those that it has done
            self._send(call)
        if self._hears:
            self._on_change()

    def _calls_down(self) -> None:
        self._losses.value += 1
        self._replies.clear()
        self._on_change()

    def _answered(self, reply: Any) -> None:
        self._answered_s = self._now_s()
        if self._asked_s is not None:
            self._broker_time.observe(self._answered_s - self._asked_s)
            self._asked_s = None
        if self._replies:
            self._replies.popleft()(reply)
            if not self._replies and self._emptied is not None:
                self._emptied.set()

    def _feed_up(self, run_id: str) -> None:
        self._feed_run_id = run_id
        if self._run_id != run_id:
            self._calls.give_up("the other connection reached another Redis")
        self._heard_s, self._probed_s = self._now_s(), None
        channels = list(self._channels.values())
        self._feed.call("SUBSCRIBE", self._probe)
        for start in range(0, len(channels), SUBSCRIBED_AT_ONCE):
            self._feed.call("SUBSCRIBE", *channels[start : start + SUBSCRIBED_AT_ONCE])

    def _feed_down(self) -> None:
        self._losses.value += 1
        self._hears = False
        self._on_change()

    def _pushed(self, reply: Any) -> None:
        self._is_heard = True
        if isinstance(reply, Exception):
            self._feed.give_up(str(reply))
            return
        if not self._hears:
            self._hears = True
            self._on_change()
        kind, name, payload = reply
        channel = self._channels.get(name)
        if channel is None:
            return
        if kind == b"message":
            self._on_batch(channel, payload)
        elif kind == b"subscribe":
            self._on_subscribed(channel)


def new_epoch() -> str:
    """Return an epoch that nobody has had."""
    return secrets.token_urlsafe(9)


def _ignore(_reply: Any) -> None:
    """A publish without a place says nothing of interest."""

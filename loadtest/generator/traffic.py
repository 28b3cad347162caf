"""All connections of one process: they come and go as Locust says, and act as the kind of load wants it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Coroutine
from typing import Any, Final

from loadtest.generator.absences import Absences
from loadtest.generator.connections import LoadConnection, monotonic_ns
from loadtest.generator.dialing import Dialer, is_refusal, reason
from loadtest.generator.measurements import Measurements
from loadtest.generator.messages import Begin, Command, DropConnections, Part, Window
from loadtest.generator.owntime import OwnTime
from loadtest.ledger import NEVER
from loadtest.wire import CONNECT, RECONNECT, Plan
from wscore.reconnect import ReconnectPolicy
from wscore.wallclock import now_ms

MAX_HANDSHAKES: Final = 200  # at a time: more would overflow what a server lets wait
FLUSH_S: Final = 0.02


class Traffic:
    """The load of this process: `slots` of connections, number `position` of `processes` that share the run.

    Subclasses make the connections and say what is sent. Times are this machine's monotonic ones; `offset_ns` is what
    the clock of the run is ahead of it.
    """

    def __init__(self, plan: Plan, dialer: Dialer, *, position: int = 0, processes: int = 1) -> None:
        self.plan = plan
        self.dialer = dialer
        self.position = position
        self.processes = processes
        self.offset_ns = 0
        self.wall_ns = now_ms() * 1_000_000 - monotonic_ns()  # what the wall clock is ahead of it
        self.own_time = OwnTime()
        self.measurements = Measurements(self.latencies)
        self.counts = self.measurements.counts
        self.recorders = self.measurements.recorders
        self.slots: list[LoadConnection | None] = []
        self.start_ns = NEVER
        self.connections = plan.connections
        self.window_start_ns = NEVER
        self.window_end_ns = NEVER
        self._wanted = 0
        self._handshakes = asyncio.Semaphore(MAX_HANDSHAKES)
        self._tasks: set[asyncio.Task[object]] = set()
        self.away = Absences()
        self._coming_back: dict[int, int] = {}  # slots, and since when they have no connection
        self._policy = ReconnectPolicy()
        self._is_ending = False

    # What subclasses fill in

    shown: str  # the latency that people see while it runs
    row: str  # its name in Locust's table
    latencies: Collection[str] = ()  # those that only this kind of load has
    is_open_model = False
    greeting = "session_created"  # what makes a connection ready

    def new_connection(self, slot: int, index: int) -> LoadConnection:
        """Return a new connection."""
        raise NotImplementedError

    def met(self, connection: LoadConnection) -> None:
        """Say what comes first on a connection."""

    def query(self, connection: LoadConnection) -> dict[str, str]:
        """Return what the URL carries beside the token."""
        return {}

    def awaited(self, connection: LoadConnection) -> str:
        """Return what a connection that is not ready waits for."""
        return self.greeting

    def stayed_away(self, connection: LoadConnection) -> None:
        """A connection that was lost does not come back, as it was to."""

    def flush(self) -> None:
        """Hand latencies over to the recorders; called 50 times a second."""

    def begun(self) -> None:
        """Start sending."""

    def result(self, part: Part) -> None:
        """Add what this kind of load alone knows."""

    @property
    def window(self) -> Window:
        """What is measured."""
        return Window(self.window_start_ns, self.window_end_ns)

    # What Locust's users and the controller call

    def arrive(self) -> None:
        """Open one more connection."""
        self._spawn(self.connect(self.reserve()))

    def reserve(self) -> int:
        """Return the slot for one more connection."""
        slot, self._wanted = self._wanted, self._wanted + 1
        if slot == len(self.slots):
            self.slots.append(None)
        return slot

    def leave(self) -> None:
        """Close the connection that came last."""
        self._wanted -= 1
        slot = self._wanted
        connection = self.slots[slot]
        if connection is not None and connection.is_open:
            connection.close()
        self.slots[slot] = None
        self.away.end(slot, monotonic_ns(), self.window)

    def apply(self, command: Command) -> None:
        """Do what the controller says."""
        match command:
            case Begin():
                first = self.start_ns == NEVER
                self.start_ns = command.start_ns - self.offset_ns
                self.connections = command.connections
                if first:
                    asyncio.get_running_loop().call_later(FLUSH_S, self._flush)
                self.begun()
            case Window():
                self.window_start_ns = command.start_ns - self.offset_ns
                self.window_end_ns = command.end_ns - self.offset_ns
            case DropConnections():
                delay_s = max(0.0, (command.at_ns - self.offset_ns - monotonic_ns()) / 1e9)
                asyncio.get_running_loop().call_later(delay_s, self._drop)
            case _:
                self._is_ending = True

    def part(self) -> Part:
        """Return what was measured."""
        self._is_ending = True
        self.flush()
        for connection in self.slots:
            if connection is not None:
                connection.count_missed()
        measurements = self.measurements
        part = Part(
            counts=self.counts,
            all_lost_ns=measurements.all_lost_ns + self.offset_ns if measurements.all_lost_ns else 0,
            away_ns=self.away.total_ns(monotonic_ns(), self.window),
            histograms=measurements.histograms(is_open_model=self.is_open_model),
        )
        self.result(part)
        return part

    # What connections call

    def joined(self, connection: LoadConnection) -> None:
        """A connection is ready."""
        counts = self.counts
        counts.connected += 1
        counts.peak = max(counts.peak, counts.connected)
        counts.opened += 1
        if connection.session_info is not None and (worker := connection.session_info.worker) is not None:
            counts.workers[worker] = counts.workers.get(worker, 0) + 1
        self.measurements.all_lost_ns = 0
        self.away.end(connection.slot, connection.joined_ns, self.window)
        lost_ns = self._coming_back.pop(connection.slot, None)
        if lost_ns is None:
            self.recorders[CONNECT].record([connection.joined_ns - connection.dialled_ns])
        else:
            counts.awaited -= 1
            self.recorders[RECONNECT].record([connection.joined_ns - lost_ns])
            counts.resumed += connection.is_resumed

    def ended(self, connection: LoadConnection) -> None:
        """A connection is gone."""
        counts = self.counts
        if not connection.joined_ns:
            return  # never was one; `connect` counts the failure
        counts.connected -= 1
        if connection.is_leaving or self._is_ending:
            return
        counts.lost += 1
        counts.closed(connection.close_code, connection.close_reason)
        self.away.begin(connection.slot, connection.left_ns)
        if counts.connected == 0:
            self.measurements.all_lost_ns = connection.left_ns
        if self.plan.reconnects and self._policy.may_retry(connection.close_code, 0):
            counts.awaited += 1
            self._coming_back[connection.slot] = connection.left_ns
            self.bring_back(connection)

    def bring_back(self, connection: LoadConnection) -> None:
        """Have a connection that was lost come back."""
        self._spawn(self._come_back(connection, self.pause_s(0)))

    def is_coming_back(self, connection: LoadConnection) -> bool:
        """Tell whether a connection that was lost is to come back."""
        return connection.slot in self._coming_back

    def error(self, text: str) -> None:
        """Something went wrong that the target is to blame for."""
        self.counts.error(text)

    # Connecting

    def _spawn(self, coroutine: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def connect(self, slot: int, before: LoadConnection | None = None) -> str | None:
        """Open the connection of a slot, `before` being the one to resume; returns what was in the way, if anything."""
        connection = self.new_connection(slot, slot * self.processes + self.position)
        query = self.query(connection) if self.plan.speaks_wsctl else {}
        if before is not None:
            query |= before.resume_fields()
            connection.follow(before)
        async with self._handshakes:
            if slot >= self._wanted or self._is_ending:
                return None
            connection.dialled_ns = monotonic_ns()
            problem = await self._dial(connection, query)
        if problem is not None:
            self.counts.failed += before is None
            self.away.begin(slot, connection.dialled_ns)
            self.error(problem)
        elif slot < self._wanted:
            self.slots[slot] = connection
        else:
            connection.close()
        return problem

    async def _dial(self, connection: LoadConnection, query: dict[str, str]) -> str | None:
        try:
            await self.dialer.dial(connection, connection.index, query)
        except Exception as error:
            return reason(error)
        try:
            async with asyncio.timeout(self.plan.handshake_timeout_s):
                await connection.settled
        except TimeoutError:
            connection.cut()
            return f"no {self.awaited(connection)} within {self.plan.handshake_timeout_s:g} s"
        if connection.joined_ns:
            return None
        self.counts.closed(connection.close_code, connection.close_reason)
        return connection.refusal or f"closed with {int(connection.close_code)} before {self.awaited(connection)}"

    # The storm

    def _drop(self) -> None:
        now = monotonic_ns()
        cut = [connection for connection in self.slots if connection is not None and connection.is_open]
        self.counts.awaited += len(cut)
        for connection in cut:
            self._coming_back[connection.slot] = now
            connection.cut()
        for connection in cut:
            self._spawn(self._come_back(connection))

    async def _come_back(self, before: LoadConnection, pause_s: float = 0.0) -> None:
        attempt = 0
        while not self._is_ending:
            await asyncio.sleep(pause_s)
            problem = await self.connect(before.slot, before)
            if problem is None or is_refusal(problem):
                break
            pause_s = self.pause_s(attempt)
            attempt += 1
        self.give_up(before)

    def give_up(self, connection: LoadConnection) -> None:
        """Wait no longer for a connection that was to come back."""
        if self._coming_back.pop(connection.slot, None) is not None:
            self.counts.awaited -= 1
            self.stayed_away(connection)

    def pause_s(self, attempt: int) -> float:
        """Return how long who comes back waits before a try, from 0, in seconds."""
        return self._policy.delay_ms(attempt, random.random()) / 1000  # noqa: S311

    def _flush(self) -> None:
        self.flush()
        if not self._is_ending:
            asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

"""Connections of a broadcast that are cut and come back: what is replayed is received, what is not is lost and told.

The oracle: what the server accepted, by group; every receiver has all of it exactly once, or the server said that
history is gone (design section 4).
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from loadtest.wire import Measured
from tests.loadtest.driving import drive, lying_server, short_plan
from tests.relay import Relay
from wscore.recovery import RecoveryLimits
from wsserver import App, Context

CONNECTIONS = 6
CUT = 3
LOAD = {
    "connections": CONNECTIONS,
    "publishers": 3,
    "rate": 100.0,
    "duration_s": 3.0,
    "drain_s": 3.0,
    "reconnects": True,
    "ramp_s": 0.3,
}


class Accepting(App):
    """Passes messages on, and notes what it accepted; `due` is set when there were so many."""

    def __init__(self, cut_after: int) -> None:
        super().__init__()
        self.accepted: Counter[int] = Counter()
        self.due = asyncio.Event()

        @self.on("message")
        async def pass_on(ctx: Context, data: dict) -> None:
            ctx.publish("message", data)
            self.accepted[data["to"]] += 1
            if self.accepted.total() >= cut_after:
                self.due.set()


async def cut_and_mend(start_server, recovery: RecoveryLimits | None, **fields) -> tuple[Measured, Accepting]:
    """Run a broadcast, half of whose connections are cut once."""
    app = Accepting(cut_after=100)
    server = await start_server(app, recovery=recovery)
    async with Relay(server.url) as relay:
        running = asyncio.create_task(asyncio.to_thread(drive, short_plan(relay.url, "broadcast", **LOAD, **fields)))
        await app.due.wait()
        await relay.drop(CUT)
        measured = (await running).measured
    assert measured.errors == {}
    assert measured.connections_lost == CUT
    assert measured.connections_opened == CONNECTIONS + CUT
    return measured, app


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("group", ["sessions", pytest.param("rooms", marks=pytest.mark.slow)])
async def test_what_is_replayed_is_received_and_nothing_is_lost_or_double(group, processes, start_server):
    measured, app = await cut_and_mend(start_server, None, processes=processes, **{group: 1})
    ledger, recovery = measured.ledger, measured.recovery
    assert recovery is not None
    assert (recovery.asked, recovery.resumed, recovery.unrecovered, recovery.confirmed) == (CUT, CUT, 0, CUT)
    assert (recovery.lost, recovery.doubled) == (0, 0)
    assert recovery.replayed is not None
    assert recovery.replayed > 0
    # What was sent into a connection that was cut already never reached the server: lost to all, and that alone.
    unheard = ledger.published - app.accepted.total()
    assert ledger.expected == ledger.published * CONNECTIONS
    assert ledger.lost == max(0, unheard) * CONNECTIONS
    assert (ledger.duplicated, ledger.reordered, ledger.misdelivered, ledger.late) == (0, 0, 0, 0)


@pytest.mark.slow
async def test_what_is_outside_the_window_is_lost_and_told(start_server):
    measured, app = await cut_and_mend(start_server, RecoveryLimits(messages=1))
    ledger, recovery = measured.ledger, measured.recovery
    assert recovery is not None
    assert recovery.unrecovered > 0
    assert recovery.resumed == CUT - recovery.unrecovered
    assert (recovery.lost, recovery.doubled) == (0, 0)
    unheard = max(0, ledger.published - app.accepted.total()) * CONNECTIONS
    assert ledger.lost > unheard
    at_fault = [receiver for receiver in measured.receivers if receiver.faults["lost"] > unheard // CONNECTIONS]
    assert len(at_fault) == recovery.unrecovered


@pytest.mark.slow
async def test_to_a_server_that_keeps_nothing_who_comes_back_is_a_new_receiver(start_server):
    measured, _ = await cut_and_mend(start_server, RecoveryLimits(messages=0))
    assert measured.recovery is None
    # What was on its way when the connections were cut is all that is lost, not what was said meanwhile.
    assert measured.ledger.expected < measured.ledger.published * CONNECTIONS
    assert measured.ledger.duplicated == 0


@pytest.mark.slow
def test_what_a_replay_repeats_came_twice_and_counts_once():
    with lying_server(recovers=True, close_after=100, repeats=1) as url:
        measured = drive(short_plan(url, "broadcast", **LOAD)).measured
    assert measured.recovery is not None
    assert measured.ledger.duplicated == CONNECTIONS
    # Who came during the ramp was repeated something too, before the window.
    assert measured.recovery.doubled in range(CONNECTIONS, 2 * CONNECTIONS + 1)
    assert measured.recovery.lost == 0
    assert measured.ledger.received <= measured.ledger.expected


def test_what_a_replay_leaves_out_is_lost_and_nobody_said_so():
    with lying_server(recovers=True, close_after=100, forgets=1) as url:
        measured = drive(short_plan(url, "broadcast", **LOAD)).measured
    assert measured.recovery is not None
    # Who is back at once has nothing replayed, so that nothing can be left out.
    assert measured.recovery.lost in range(1, CONNECTIONS + 1)
    assert measured.recovery.doubled == 0
    assert measured.ledger.lost >= measured.recovery.lost

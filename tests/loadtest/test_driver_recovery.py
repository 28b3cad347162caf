"""Whether those who come back to their sessions miss anything: against our own server, and against one that lies."""

from __future__ import annotations

import asyncio

import pytest

from loadtest.wire import Measured, RecoveryLedger, Tokens
from tests.conftest import SECRET
from tests.loadtest.driving import drive, lying_server, short_plan
from wscore.recovery import RecoveryLimits
from wsserver import App, AppError, Context, ErrorCode

CONNECTIONS = 6
WHOLE = {"asked": CONNECTIONS, "resumed": CONNECTIONS, "unrecovered": 0, "confirmed": CONNECTIONS}


async def storm(server, **fields) -> Measured:
    plan = short_plan(server.url, "reconnect", connections=CONNECTIONS, **fields)
    outcome = await asyncio.to_thread(drive, plan)
    assert outcome.measured.errors == {}
    return outcome.measured


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_our_own_server_replays_what_was_missed_and_nothing_twice(engine, processes, start_server):
    measured = await storm(await start_server(engine=engine), processes=processes)
    # Three messages each, said just before the cut.
    assert measured.recovery == RecoveryLedger(**WHOLE, replayed=3 * CONNECTIONS, lost=0, doubled=0)


async def test_users_with_tokens_of_their_own_come_back_too(start_server, jwt_key):
    server = await start_server(jwt_key=jwt_key)
    measured = await storm(server, tokens=Tokens(secret=SECRET, as_users=True))
    assert measured.recovery == RecoveryLedger(**WHOLE, replayed=3 * CONNECTIONS, lost=0, doubled=0)


@pytest.mark.slow
async def test_a_window_that_is_too_small_is_no_loss_but_said(start_server):
    measured = await storm(await start_server(recovery=RecoveryLimits(messages=2)))
    assert measured.recovery == RecoveryLedger(
        asked=CONNECTIONS, resumed=0, unrecovered=CONNECTIONS, confirmed=CONNECTIONS, replayed=0, lost=0, doubled=0
    )


async def test_without_recovery_nothing_is_shown_as_measured(start_server):
    assert (await storm(await start_server(recovery=RecoveryLimits(messages=0)))).recovery is None


@pytest.mark.slow
async def test_an_app_that_takes_no_message_leaves_the_events_unmeasured(start_server):
    app = App()

    @app.on("message")
    async def refuse(_: Context, __: str) -> None:
        raise AppError(ErrorCode.FORBIDDEN, "Nobody speaks here.")

    measured = await storm(await start_server(app))
    assert measured.recovery == RecoveryLedger(
        asked=CONNECTIONS, resumed=CONNECTIONS, unrecovered=0, confirmed=0, replayed=None, lost=None, doubled=None
    )


@pytest.mark.parametrize(
    ("lies", "figures"),
    [
        ({"forgets": 1}, {"replayed": 2 * CONNECTIONS, "lost": CONNECTIONS, "doubled": 0}),
        pytest.param({"forgets": 3}, {"replayed": 0, "lost": 3 * CONNECTIONS, "doubled": 0}, marks=pytest.mark.slow),
        ({"repeats": 1}, {"replayed": 3 * CONNECTIONS, "lost": 0, "doubled": CONNECTIONS}),
    ],
)
def test_what_a_replay_leaves_out_or_repeats_is_found(lies, figures):
    with lying_server(recovers=True, **lies) as url:
        measured = drive(short_plan(url, "reconnect", connections=CONNECTIONS)).measured
    assert measured.recovery == RecoveryLedger(**WHOLE, **figures)

"""Broadcasts in rooms of a real server, and with publishers that the server leaves out."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from loadtest.generator.dialing import is_refusal
from loadtest.wire import FIRST, LAST, Ledger, Tokens
from tests.conftest import SECRET
from tests.loadtest.driving import Outcome, drive, driver, outcome, short_plan
from tests.loadtest.test_driver_locust import free_port
from wsserver import App, Context, RoomAccess, RoomLimits
from wsserver.settings import Profile

ROOMS = {"connections": 6, "rooms": 3, "rate": 60.0, "duration_s": 1.0, "drain_s": 1.0}
WHOLE = Ledger(published=60, expected=120, received=120)


async def broadcast(server, **fields) -> Outcome:
    return await asyncio.to_thread(drive, short_plan(server.url, "broadcast", **fields))


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_members_are_spread_over_rooms_and_get_what_is_said_there(engine, processes, start_server):
    seen = set()
    app = App()

    @app.on("message")
    async def pass_on(ctx: Context, data: dict) -> None:
        seen.add(ctx.room)
        ctx.publish("message", data)

    result = await broadcast(await start_server(app, engine=engine), processes=processes, **ROOMS)
    assert seen == {f"load-t-{number}" for number in range(3)}
    assert result.measured.errors == {}
    assert result.measured.ledger == WHOLE
    assert result.histogram(LAST).total_count == 60


@pytest.mark.slow
async def test_a_master_and_its_worker_join_rooms_too(start_server):
    server, port = await start_server(), free_port()
    plan = short_plan(server.url, "broadcast", **ROOMS)

    def both() -> Outcome:
        master = msgspec.structs.replace(plan, master_port=port, expected_workers=1)
        worker = msgspec.structs.replace(plan, worker_of=f"127.0.0.1:{port}")
        with driver(master) as leading, driver(worker) as working:
            led = outcome(leading)
            assert outcome(working).code == 0
            return led

    assert (await asyncio.to_thread(both)).measured.ledger == WHOLE


async def test_what_comes_by_another_room_is_misdelivered_and_has_its_receiver(start_server):
    app = App()

    @app.on("message")
    async def leak(ctx: Context, data: dict) -> None:
        ctx.publish("message", data)
        if data["seq"] % 10 == 3:
            ctx.publish("message", data, room="load-t-0" if ctx.room != "load-t-0" else "load-t-1")

    measured = (await broadcast(await start_server(app), **ROOMS)).measured
    ledger = measured.ledger
    assert (ledger.lost, ledger.duplicated) == (0, 0)
    assert ledger.misdelivered == 2 * 6  # each tenth of 60, to the two members of a wrong room
    assert {receiver.room for receiver in measured.receivers} == {0, 1}
    assert {receiver.session for receiver in measured.receivers} == {None}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rooms": RoomLimits(per_connection=0)}, "room.join refused: FORBIDDEN, limit 0"),
        ({"profile": Profile.PROD}, "room.join refused: FORBIDDEN"),
    ],
)
async def test_a_refused_join_ends_the_run_with_its_reason(settings, reason, start_server):
    result = await broadcast(await start_server(**settings), **ROOMS)
    assert (result.code, result.words.strip()) == (4, reason)
    assert is_refusal(reason)


async def test_one_room_that_is_refused_fails_its_members_alone(start_server):
    app = App()

    @app.on_join("load-*")
    def allow(ctx: Context, room: str) -> bool:
        return not room.endswith("-1")

    @app.on("message")
    async def pass_on(ctx: Context, data: dict) -> None:
        ctx.publish("message", data)

    measured = (await broadcast(await start_server(app), **ROOMS)).measured
    assert measured.errors == {"room.join refused: FORBIDDEN": 2}
    assert (measured.connections_failed, measured.connections_opened) == (2, 4)
    assert measured.ledger == Ledger(published=40, expected=80, received=80)


async def test_users_bring_the_right_to_their_rooms(start_server, jwt_key):
    server = await start_server(jwt_key=jwt_key, profile=Profile.PROD)
    measured = (await broadcast(server, tokens=Tokens(secret=SECRET, as_users=True), **ROOMS)).measured
    assert (measured.errors, measured.ledger) == ({}, WHOLE)


async def test_who_may_only_listen_publishes_nothing_and_is_told(start_server):
    app = App()

    @app.on_join("load-*")
    def listen(ctx: Context, room: str) -> RoomAccess:
        return RoomAccess.LISTEN

    measured = (await broadcast(await start_server(app), **ROOMS)).measured
    assert measured.errors.keys() == {"FORBIDDEN"}
    assert measured.ledger == Ledger(published=60, expected=120, lost=120)


async def test_who_is_put_out_of_its_room_is_an_error_and_its_loss(start_server):
    app, put_out = App(), []

    @app.on("message")
    async def pass_on(ctx: Context, data: dict) -> None:
        ctx.publish("message", data)
        if data["seq"] == 10 and data["to"] == 2:
            put_out.append(ctx.connection_id)
            ctx.hub.leave(ctx.room, connection=ctx.connection_id)

    measured = (await broadcast(await start_server(app), **ROOMS)).measured
    assert len(put_out) == 1
    assert measured.errors["put out of its room"] == 1
    assert {receiver.room for receiver in measured.receivers} == {2}
    assert measured.ledger.lost > 0


def excepting() -> App:
    app = App()

    @app.on("message")
    async def pass_on(ctx: Context, data: dict) -> None:
        ctx.publish("message", data, except_connection=ctx.connection_id)

    return app


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("groups", [{"sessions": 2}, {"rooms": 2}])
async def test_a_sender_that_is_left_out_loses_nothing(processes, groups, start_server):
    plan = {"connections": 8, "publishers": 2, "rate": 80.0, "duration_s": 1.0, "drain_s": 1.0}
    result = await broadcast(await start_server(excepting()), except_sender=True, processes=processes, **plan, **groups)
    # Two publish in each group of four: three others get it.
    assert result.measured.ledger == Ledger(published=80, expected=240, received=240)
    assert result.measured.receivers == ()
    assert result.histogram(FIRST).total_count == result.histogram(LAST).total_count == 80
    assert result.measured.generator.lag_p99_us < 1e6  # nothing waits in vain until the drain ends


async def test_without_saying_so_a_sender_that_is_left_out_has_lost_its_own(start_server):
    measured = (await broadcast(await start_server(excepting()), connections=4, rate=40.0, duration_s=1.0)).measured
    assert measured.ledger.lost == 40
    assert [receiver.connection for receiver in measured.receivers] == [0]


async def test_a_copy_for_a_sender_that_was_to_be_left_out_is_misdelivered(start_server):
    measured = (await broadcast(await start_server(), connections=4, rate=40.0, except_sender=True)).measured
    ledger = measured.ledger
    assert ledger == Ledger(published=20, expected=60, received=60, misdelivered=20)
    assert [(receiver.connection, receiver.faults) for receiver in measured.receivers] == [(0, {"misdelivered": 20})]


@pytest.mark.slow
async def test_in_the_closed_model_a_sender_that_is_left_out_goes_on_after_its_pause(start_server):
    server = await start_server(excepting())
    ledger = (
        await broadcast(server, connections=3, rate=None, think_ms=20.0, duration_s=1.0, except_sender=True)
    ).measured.ledger
    assert 5 < ledger.published <= 51
    assert ledger == Ledger(ledger.published, 2 * ledger.published, 2 * ledger.published)

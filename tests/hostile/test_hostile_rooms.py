"""Clients that join and leave as fast as they can, as many rooms as they can: memory and neighbours stay."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ENGINES

TEXT = 0x1
MIB = 1 << 20
GROWTH_BYTES = 8 * MIB
ROOM_MEMORY = 2 * MIB
SMALL_BUFFER = 4096

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")


@pytest.fixture(scope="module", params=ENGINES)
def measured(request, start_measured):
    return start_measured(request.param)


@pytest.fixture(params=ENGINES)
def bounded(request, start_measured):
    return start_measured(request.param, "--max-room-memory", "2MiB")


def envelope(type: str, room: str, **data: object) -> bytes:
    return json.dumps({"type": type, "timestamp": 1, "data": {"room": room, **data}}).encode()


@needs_proc
@pytest.mark.parametrize("presence", [False, True])
async def test_a_flood_of_joins_and_leaves_of_new_rooms_by_a_peer_that_never_reads(
    measured, open_socket, neighbour_of, make_frame, presence
):
    neighbour = await neighbour_of(measured.url)
    attacker = await open_socket(measured.url, receive_buffer=SMALL_BUFFER)
    attacker.stop_reading()
    with measured.grows_less_than(GROWTH_BYTES):
        for turn in range(40):
            frames = b""
            for n in range(250):
                room = f"{turn}.{n}.".ljust(128, "r")
                frames += make_frame(TEXT, envelope("room.join", room, presence=presence))
                frames += make_frame(TEXT, envelope("room.leave", room))
            with suppress(ConnectionError):
                await attacker.send(frames)
            await neighbour.notices_nothing()


@needs_proc
async def test_rooms_of_many_connections_stay_within_their_memory_and_sessions_go_on(
    bounded, open_socket, neighbour_of, make_frame
):
    neighbour = await neighbour_of(bounded.url)
    sockets = [await open_socket(bounded.url) for _ in range(60)]
    answers = {"room.joined": 0, "error": 0}
    with bounded.grows_less_than(GROWTH_BYTES):
        for number, socket in enumerate(sockets):
            rooms = [f"{number}.{n}.".ljust(128, "r") for n in range(101)]
            await socket.send(*(make_frame(TEXT, envelope("room.join", room)) for room in rooms))
            await neighbour.notices_nothing()
        for socket in sockets:
            seen = 0
            while seen < 101:
                answer = json.loads((await socket.receive())[1])
                if answer["type"] in answers:
                    answers[answer["type"]] += 1
                    seen += 1
    # At 750 bytes each and the name's 128 this is what there is room for; the limit of 100 is below it for the first.
    assert answers["room.joined"] == ROOM_MEMORY // (750 + 128)
    assert sum(answers.values()) == 60 * 101

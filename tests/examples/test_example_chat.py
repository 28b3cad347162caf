"""The chat of examples/, by its users."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from types import ModuleType

import pytest

from tests.cli.conftest import Serving, Wsctl
from wsserver.testing import AppServer, serving

KITCHEN = "chat.kitchen"


@pytest.fixture
def chat(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("chat")


@pytest.fixture
async def server(chat: ModuleType) -> AsyncIterator[AppServer]:
    async with serving(chat.app, app_settings=[chat.ChatSettings(page_length=3)]) as server:
        yield server


async def test_what_is_said_reaches_everyone_in_the_room_and_nobody_else(server):
    ann, bob = [await server.connect(user, rooms=[KITCHEN]) for user in ("ann", "bob")]
    eve = await server.connect("eve", rooms=["chat.garden"])
    assert (await ann.request("chat.say", {"text": "tea?"}, room=KITCHEN)).type == "chat.sent"
    said = await bob.receive("chat.said")
    assert (said.data, said.user_id, said.room) == ({"text": "tea?"}, "ann", KITCHEN)
    await eve.expect_nothing("chat.said")


async def test_who_comes_and_goes_is_seen_by_who_wants_to(server):
    ann = await server.connect("ann")
    joined = await ann.request("room.join", {"room": KITCHEN, "presence": True})
    assert joined.data["members"] == ["ann"]
    bob = await server.connect("bob", rooms=[KITCHEN])
    await server.advance(1)
    assert (await ann.receive("presence")).data["joined"] == ["bob"]
    await bob.close()
    await server.advance(10)
    assert (await ann.receive("presence")).data["left"] == ["bob"]


async def test_typing_is_told_to_the_others_and_is_no_part_of_the_history(server):
    ann, bob = [await server.connect(user, rooms=[KITCHEN]) for user in ("ann", "bob")]
    await ann.send("chat.typing", room=KITCHEN)
    assert (await bob.receive("chat.typing")).user_id == "ann"
    await ann.expect_nothing()
    assert (await bob.request("chat.history", room=KITCHEN)).data == []


async def test_a_newcomer_reads_what_was_said_page_by_page(server):
    ann = await server.connect("ann", rooms=[KITCHEN])
    for number in range(5):
        await ann.request("chat.say", {"text": str(number)}, room=KITCHEN)
    await ann.close()
    bob = await server.connect("bob", rooms=[KITCHEN])
    newest = (await bob.request("chat.history", room=KITCHEN)).data
    assert [(line["text"], line["userId"]) for line in newest] == [("2", "ann"), ("3", "ann"), ("4", "ann")]
    older = (await bob.request("chat.history", {"before": newest[0]["seq"]}, room=KITCHEN)).data
    assert [line["text"] for line in older] == ["0", "1"]


async def test_guests_read_what_the_staff_says(server):
    ann, guest = [await server.connect(user, rooms=["chat.staff"]) for user in ("ann", None)]
    await ann.request("chat.say", {"text": "closed on Monday"}, room="chat.staff")
    assert (await guest.receive("chat.said")).data == {"text": "closed on Monday"}
    assert (await guest.request("chat.say", {"text": "no!"}, room="chat.staff")).data["code"] == "FORBIDDEN"
    (line,) = (await guest.request("chat.history", room="chat.staff")).data
    assert line["text"] == "closed on Monday"


@pytest.mark.parametrize("type", ["chat.say", "chat.typing", "chat.history"])
async def test_a_message_for_no_room_is_refused(server, type):
    ann = await server.connect("ann", rooms=[KITCHEN])
    data = {"text": "hello"} if type == "chat.say" else None
    assert (await ann.request(type, data)).data["code"] == "INVALID_MESSAGE"


def test_it_is_served_from_its_folder_with_its_settings(serve_example: Callable[..., Serving], wsctl: Wsctl) -> None:
    server = serve_example("chat")
    lines = [
        {"type": "room.join", "data": {"room": KITCHEN, "presence": True}},
        {"type": "chat.say", "room": KITCHEN, "data": {"text": "hello"}, "id": "1"},
        {"type": "chat.history", "room": KITCHEN, "id": "2"},
    ]
    result = wsctl(
        "connect", server.url, "--until", "chat.history", stdin="".join(json.dumps(line) + "\n" for line in lines)
    )
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    (line,) = answers[-1]["data"]
    assert line["text"] == "hello"
    assert line["userId"] == answers[0]["data"]["userId"]
    assert server.stop() == 0

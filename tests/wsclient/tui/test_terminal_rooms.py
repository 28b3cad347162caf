"""The composer sends to the room that is chosen, says so, and never elsewhere than it says."""

from __future__ import annotations

from functools import partial

from wsclient import Client
from wsclient.tui.model.checking import describe, problem_of
from wsclient.tui.model.history import Draft, Form
from wscore.foreign import wsctl_adapter
from wscore.wallclock import now_ms

HANG_S = 20


async def test_a_message_goes_to_the_room_that_is_chosen_and_to_the_session_again(server, peer, open_terminal):
    joining = partial(Client, server.url, session_id="room", rooms=["hall"])
    async with (
        Client(server.url, session_id="elsewhere", rooms=["hall"]) as member,
        open_terminal(server.url, client=joining) as terminal,
    ):
        await terminal.shows("room.joined")
        await terminal.press("c", "alt+r", *"one")
        await terminal.shows("to room hall: text")
        await terminal.press("ctrl+j")
        said = await member.receive("message", timeout_s=HANG_S)
        assert (said.room, bytes(said.data)) == ("hall", b'"one"')
        await terminal.until(lambda: terminal.screen.composer.draft.text == "")
        await terminal.press("alt+r", *"two", "ctrl+j")
        assert await peer.receive() == "two"


async def test_who_is_in_no_room_is_told_how_to_join_one(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c", "alt+r")
        await terminal.says("you are in no room: --room joins one")
        assert terminal.screen.composer.draft.room == ""


def test_what_cannot_go_to_the_room_does_not_say_that_it_does():
    ours = wsctl_adapter(now_ms)
    assert problem_of(Draft("message", "x", Form.FRAME, "hall"), ours) == (
        "a frame goes just as it is, and so not to the room hall"
    )
    named = Draft("message", '{"type":"message","room":"attic","data":1}', room="hall")
    assert describe(named, ours) == "a whole message, sent as it is"
    assert describe(Draft("message", '{"type":"message","data":1}', room="hall"), ours) == (
        "to room hall: a whole message, sent as it is"
    )


def test_a_draft_is_kept_with_its_room():
    draft = Draft("message", "x", room="hall")
    assert Draft.from_json(draft.to_json()) == draft
    assert "room" not in Draft("message", "x").to_json()

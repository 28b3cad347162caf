"""Keys that come all at once, as they do from quick fingers, over ssh and from a paste, go where they were meant to."""

from __future__ import annotations

import asyncio

import pytest
from textual.events import Key, Paste

HANG_S = 20
NAMES = {" ": "space", "\n": "enter", "/": "slash"}


def at_once(terminal, *keys: str) -> None:
    """Type without waiting for anything."""
    for key in keys:
        name = NAMES.get(key, key)
        terminal.app.post_message(Key(name, key if len(key) == 1 else None))


async def test_what_is_typed_right_after_c_is_text_and_no_command(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        rows = terminal.rows()
        at_once(terminal, "c", *"xyz hello e b f/?", "ctrl+j")
        assert await peer.receive() == "xyz hello e b f/?"
        assert terminal.rows()[: len(rows)] == rows
        assert not terminal.screen._view.is_frozen
        assert not terminal.screen._choice.flags()


@pytest.mark.parametrize("key", ["f", "/"])
async def test_what_is_typed_right_after_f_and_slash_is_looked_for(server, peer, open_terminal, key):
    async with open_terminal(server.url) as terminal:
        await peer.send("xyz cab")
        await terminal.until(lambda: terminal.rows().count("message") == 1)
        at_once(terminal, key, *"xyz cab", "\n", "r", *"!")
        await terminal.until(lambda: terminal.screen.composer.draft.text.endswith("!"))
        found = terminal.screen._choice.filter if key == "f" else terminal.screen._choice.search
        assert str(found) == "xyz cab"
        assert '"xyz cab"' in terminal.screen.composer.draft.text


async def test_what_is_typed_right_after_escape_is_a_command(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        at_once(terminal, "c", *"ab", "escape", "space", "c", *"cd")
        await terminal.until(lambda: terminal.screen.composer.draft.text == "abcd")
        assert terminal.screen._view.is_frozen


async def test_what_is_typed_into_a_screen_that_opens_stays_in_it(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c", *"first", "ctrl+j")
        await terminal.until(lambda: terminal.screen.composer.draft.text == "")
        await terminal.press(*"second", "ctrl+j")
        await terminal.until(lambda: terminal.screen.composer.draft.text == "")
        at_once(terminal, "ctrl+r", *"fir", "\n", *" x")
        composer = terminal.screen.composer
        await terminal.until(lambda: composer.draft.text == "first x")


@pytest.mark.parametrize("key", ["ctrl+s", "ctrl+o", "ctrl+t", "f5"])
async def test_what_is_typed_right_after_a_key_that_asks_is_the_answer(server, peer, open_terminal, key):
    async with open_terminal(server.url) as terminal:
        at_once(terminal, key, "home", *"xyz")
        await terminal.until(lambda: terminal.screen.query_one("#bar-input").value.startswith("xyz"))
        assert not terminal.screen._view.is_frozen


async def test_a_paste_right_after_c_is_pasted_into_the_text(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        at_once(terminal, "c")
        terminal.app.post_message(Paste("pasted x"))
        at_once(terminal, "ctrl+j")
        assert await peer.receive() == "pasted x"


async def test_a_widget_that_is_busy_holds_no_key_back_for_long(server, peer, open_terminal, monkeypatch):
    async with open_terminal(server.url) as terminal:
        going = asyncio.Event()

        async def busy() -> None:
            await going.wait()

        terminal.screen.call_later(busy)
        at_once(terminal, "c", *"x")
        async with asyncio.timeout(HANG_S):
            while terminal.app._key_number < 2:
                await asyncio.sleep(0.01)
        going.set()
        await terminal.until(lambda: terminal.screen.query_one("#data").has_focus)

"""The connect form has a field for each option of the connection, and profiles fill them in."""

from __future__ import annotations

import pytest
from textual.widgets import Collapsible, Input

from wsclient.tui.model.options import OPTION_FIELDS, joined_options, split_options
from wsclient.tui.model.target import Target

LINE = (
    "--header 'X-A: 1' --header 'X-B: it is' --cookie a=1 --subprotocol chat --user-file me --proxy none --cert a.pem "
    "--key b.pem --max-size 1KiB --handshake-timeout 3s --insecure --type-key op"
)


def test_a_line_of_options_becomes_fields_and_the_same_line():
    fields, rest = split_options(LINE)
    assert fields["header"] == "'X-A: 1' 'X-B: it is'"
    assert fields["max-size"] == "1KiB"
    assert rest == "--insecure --type-key op"
    assert joined_options(fields, rest) == LINE


@pytest.mark.parametrize("line", ["", "--header", "'--insecure", "--what x", "--proxy=none"])
def test_what_cannot_be_read_is_not_lost(line):
    assert joined_options(*split_options(line)) == line.replace("=", " ")


def test_one_header_needs_no_quotation_marks():
    assert joined_options({"header": "X-A: it's 1"}, "") == """--header 'X-A: it'"'"'s 1'"""


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_each_field_is_reached_filled_in_and_saved(open_terminal, size):
    saved = {}
    options = {"form": True, "size": size, "save_profile": saved.__setitem__}
    async with open_terminal("ws://127.0.0.1:9/", **options) as terminal:
        screen = terminal.screen
        screen.query_one("#more", Collapsible).collapsed = False
        await terminal.pilot.pause()
        for field in OPTION_FIELDS:
            place = screen.query_one(f"#option-{field.name}", Input)
            place.focus()
            await terminal.until(lambda place=place: place.has_focus)
            place.value = "a=1"
            await terminal.until(lambda place=place: screen.scrollable_content_region.contains_region(place.region))
        name = screen.query_one("#name", Input)
        name.focus()
        await terminal.until(lambda: name.has_focus)
        await terminal.press(*"mine", "enter")
        await terminal.until(lambda: saved)
    assert split_options(saved["mine"].options) == ({field.name: "a=1" for field in OPTION_FIELDS}, "")


async def test_a_profile_fills_in_the_fields_and_opens_them(open_terminal):
    profiles = {"mine": Target("wss://a.example/", options=LINE)}
    async with open_terminal("ws://127.0.0.1:9/", form=True, profiles=profiles) as terminal:
        assert terminal.screen.query_one("#more", Collapsible).collapsed
        terminal.screen.query_one("#profile").value = "mine"
        await terminal.until(lambda: not terminal.screen.query_one("#more", Collapsible).collapsed)
        assert terminal.screen.filled_in.options == LINE
        assert terminal.screen.query_one("#option-cookie", Input).value == "a=1"

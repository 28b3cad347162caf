"""The connect form has a field for each option of the connection, and profiles fill them in."""

from __future__ import annotations

import base64

import pytest
from textual.widgets import Collapsible, Input
from websockets.asyncio.server import ServerConnection, serve

from cli.options.handshake import HandshakeOptions
from cli.profiles import save_profile
from cli.saved import with_saved
from cli.terminal import _profile
from wsclient import Client
from wsclient.tui.model.options import OPTION_FIELDS, joined_options, split_options
from wsclient.tui.model.target import Target, TokenKind

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


async def test_a_user_and_a_password_let_in_and_the_password_is_seen_nowhere(open_terminal, tmp_path):
    password = "a:secret \N{SNOWMAN}"
    pair = f"ann:{password}"
    saved = tmp_path / "wsctl.toml"

    async def answer(connection: ServerConnection) -> None:
        await connection.send(
            f"hello {base64.b64decode(connection.request.headers['Authorization'][6:]) == pair.encode()}"
        )
        await connection.wait_closed()

    def new_client(target):
        profile = _profile(target, target.password)
        return Client(profile.url, dial=with_saved(HandshakeOptions(), profile.dials).dial())

    def save(name, target):
        save_profile(saved, name, _profile(target))

    async with serve(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        options = {"form": True, "size": (100, 50), "new_client": new_client, "save_profile": save}
        async with open_terminal(url, **options) as terminal:
            screen = terminal.screen
            screen.query_one("#more", Collapsible).collapsed = False
            screen.query_one("#user", Input).value = "ann"
            screen.query_one("#password", Input).value = password
            screen.query_one("#name", Input).value = "mine"
            await terminal.press("ctrl+s")
            await terminal.until(saved.exists)
            seen = terminal.screen_text()
            screen.query_one("#url", Input).focus()
            await terminal.press("enter")
            await terminal.shows("hello True")
            await terminal.press("f6")
            await terminal.shows("> GET /")
            seen += terminal.screen_text()
            await terminal.press("ctrl+n")
            await terminal.shows("Connect as", "ann")
            assert terminal.screen.query_one("#password", Input).value == password
            seen += terminal.screen_text()
            terminal.screen.query_one("#profile").value = "mine"
            await terminal.until(lambda: not terminal.screen.query_one("#password", Input).value)
            assert terminal.screen.query_one("#user", Input).value == "ann"
    assert 'user = "ann"' in saved.read_text()
    for secret in ("secret", base64.b64encode(pair.encode()).decode()):
        assert secret not in seen + saved.read_text()


@pytest.mark.parametrize("size", [(80, 24), (100, 50)])
async def test_a_field_of_an_option_that_is_given_is_closed_and_says_what_wins(open_terminal, size):
    target = Target("wss://a.example/", TokenKind.SUB, "ann", options=LINE, user="ben")
    given = frozenset({"header", "user-file", "token", "insecure", "origin"})
    saved = {}
    options = {"form": True, "size": size, "target": target, "given": given, "save_profile": saved.__setitem__}
    async with open_terminal(target.url, profiles={"it": target}, **options) as terminal:
        screen = terminal.screen
        wins = {"header": "--header", "user": "--user-file", "password": "--user-file", "user-file": "--user-file"}
        for name, winner in wins.items():
            place = screen.query_one(f"#{name}" if name in ("user", "password") else f"#option-{name}", Input)
            assert (place.disabled, place.value, place.placeholder) == (True, "", f"{winner} wins, being given")
        assert not screen.query_one("#option-cookie", Input).disabled
        assert not screen.query_one("#more", Collapsible).collapsed
        assert screen.query_one("#kind").disabled
        await terminal.shows("Connect as: --token wins, being given")
        screen.query_one("#options", Input).focus()
        await terminal.shows("--insecure, --origin win, being given")
        assert screen.filled_in == target
        screen.query_one("#profile").value = "it"
        await terminal.until(lambda: screen.query_one("#options", Input).value)
        assert screen.filled_in == target


async def test_what_wins_is_to_be_seen_where_nothing_else_opens_the_fields(open_terminal):
    async with open_terminal("ws://a.example/", form=True, given=frozenset({"proxy"}), size=(80, 50)) as terminal:
        await terminal.shows("--proxy wins, being given")
    async with open_terminal("ws://a.example/", form=True, given=frozenset({"token"})) as terminal:
        await terminal.shows("--token wins, being given")
        assert terminal.screen.query_one("#more", Collapsible).collapsed

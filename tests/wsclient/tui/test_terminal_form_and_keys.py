"""The connect form, profiles, the palette, remapped keys and themes."""

from __future__ import annotations

import pytest
from textual.events import MouseScrollDown

from wsclient.tui.app import binding_ids
from wsclient.tui.commands import COMMANDS
from wsclient.tui.model.target import Target, TokenKind
from wscore.errors import ConfigError
from wscore.foreign import ProtocolName

PANEL_KEYS = {command.action: command.keys for command in COMMANDS if command.action.startswith("panel(")}


async def test_the_form_connects_where_it_says(server, open_terminal):
    async with open_terminal(server.url, form=True) as terminal:
        await terminal.shows("URL", "Connect as", "a guest")
        terminal.screen.query_one("#session").value = "lobby"
        await terminal.press("enter")
        await terminal.shows("● open", "session lobby")


async def test_the_form_keeps_what_is_wrong_and_says_why(open_terminal):
    def refuse(target):
        raise ConfigError("URL", f"{target.url!r} is no WebSocket URL")

    async with open_terminal("http://nowhere", form=True, new_client=refuse) as terminal:
        await terminal.press("enter")
        await terminal.shows("is no WebSocket URL")
        assert terminal.screen.filled_in.url == "http://nowhere"


async def test_profiles_fill_in_the_form_and_are_saved_without_a_pasted_token(server, open_terminal):
    saved = {}
    profiles = {"staging": Target(server.url, TokenKind.SUB, "alice", "room", "", ProtocolName.JSON)}
    async with open_terminal(
        "ws://127.0.0.1:1/", form=True, profiles=profiles, save_profile=saved.__setitem__, size=(100, 40)
    ) as terminal:
        terminal.screen.query_one("#profile").value = "staging"
        await terminal.until(lambda: terminal.screen.filled_in == profiles["staging"])
        terminal.screen.query_one("#kind").value = TokenKind.PASTED
        await terminal.until(lambda: terminal.screen.query_one("#value").password)
        terminal.screen.query_one("#value").value = "eyJ.secret.token"
        assert "secret" not in terminal.screen_text()
        terminal.screen.query_one("#name").value = "mine"
        await terminal.press("ctrl+s")
        assert saved == {"mine": Target(server.url, TokenKind.GUEST, "", "room", "", ProtocolName.JSON)}
        terminal.screen.query_one("#name").value = ""
        await terminal.press("ctrl+s")
        await terminal.shows("give the profile a name")


async def test_the_palette_has_every_action(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        titles = {command.title for command in terminal.app.get_system_commands(terminal.screen)}
        assert {command.title for command in COMMANDS} <= titles
        await terminal.press("ctrl+p")
        await terminal.type("latest by")
        await terminal.press("enter")
        await terminal.until(lambda: terminal.screen.query("#latest.-shown"))


async def test_every_panel_has_a_command(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        panels = {f"panel({panel.id!r})" for panel in terminal.screen.query(".panel")}
    assert panels == set(PANEL_KEYS)


@pytest.mark.parametrize(("action", "key"), PANEL_KEYS.items(), ids=PANEL_KEYS)
async def test_a_panel_is_shown_kept_up_to_date_and_hidden_by_its_key(server, open_terminal, action, key):
    drawn = []
    async with open_terminal(server.url) as terminal:
        (panel,) = (panel for panel in terminal.screen.query(".panel") if f"panel({panel.id!r})" == action)
        panel.draw = lambda: drawn.append("now")
        assert not panel.display
        await terminal.press(key)
        await terminal.until(lambda: panel.display and len(drawn) > 1)
        await terminal.press(key)
        await terminal.until(lambda: not panel.display)


async def test_keys_can_be_remapped(server, open_terminal):
    assert "record" in binding_ids()
    async with open_terminal(server.url, keys={"record": "ctrl+w", "pause": "z"}) as terminal:
        await terminal.press("z")
        await terminal.shows("paused")
        await terminal.press("space")
        await terminal.press("ctrl+w")
        await terminal.shows("record to")


async def test_help_follows_the_focus(server, open_terminal):
    async with open_terminal(server.url, size=(140, 50)) as terminal:
        await terminal.press("f1")
        await terminal.shows("One row a message")
        await terminal.press("c")
        await terminal.shows("checked as you type")
        await terminal.press("f1")
        await terminal.until(lambda: not terminal.screen.query("HelpPanel"))


@pytest.mark.parametrize("theme", ["textual-light", "ansi-dark"])
async def test_themes_change_the_colours_and_nothing_else(server, open_terminal, theme):
    async with open_terminal(server.url) as terminal:
        assert theme in terminal.app.available_themes
        terminal.app.theme = theme
        await terminal.shows("● open", "session_created")


async def test_the_form_is_one_key_away(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("ctrl+n")
        await terminal.shows("Connect as")
        await terminal.press("enter")
        await terminal.shows("● open")


def test_a_fault_of_the_client_shows_no_variables(open_terminal, tmp_path, capfd):
    from wsclient import Client
    from wsclient.tui.app import ConnectApp

    secret = "eyJ.a-token.in-a-variable"

    class Broken(ConnectApp):
        def on_mount(self) -> None:
            token = secret
            raise ZeroDivisionError(len(token))

    app = Broken(target=Target("ws://x"), new_client=lambda _: Client("ws://x"), history_path=tmp_path / "h")
    app.run(headless=True)
    assert isinstance(app.fault, ZeroDivisionError)
    printed = capfd.readouterr()
    assert secret not in printed.out + printed.err
    assert "Traceback" not in printed.out + printed.err


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_help_scrolls_by_wheel_and_by_keys_to_its_end(server, open_terminal, size):
    async with open_terminal(server.url, size=size) as terminal:
        await terminal.press("f1")
        await terminal.until(lambda: terminal.screen.query("HelpPanel"))
        panel = terminal.screen.query_one("HelpPanel")
        await terminal.until(lambda: panel.max_scroll_y > 0)
        for row in (1, panel.size.height - 2):
            before = panel.scroll_y
            await terminal.pilot._post_mouse_events([MouseScrollDown], "HelpPanel", (2, row))
            await terminal.until(lambda before=before: panel.scroll_y > before)
            panel.scroll_home(animate=False)
            await terminal.until(lambda: panel.scroll_y == 0)
        for _ in range(20):
            await terminal.press("alt+pagedown")
        assert panel.scroll_y == panel.max_scroll_y
        await terminal.shows("palette")
        await terminal.press("alt+pageup")
        assert panel.scroll_y < panel.max_scroll_y

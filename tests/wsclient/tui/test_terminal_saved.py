"""Messages under a name: saved, picked, sent and deleted, in a file that nothing spoils."""

from __future__ import annotations

import json

import pytest

from wsclient.tui.model.history import Draft, Form
from wsclient.tui.model.saved import SavedMessages
from wscore.errors import ConfigError


async def test_a_message_is_saved_picked_sent_and_deleted(server, peer, open_terminal, tmp_path):
    path = tmp_path / "wsctl-messages.jsonl"
    async with open_terminal(server.url, saved_path=path) as terminal:
        for name in ("hello", "other"):
            await terminal.press("c", *f"say-{name}", "alt+s", *name, "enter")
            await terminal.until(lambda name=name: name in SavedMessages(path).read())
            terminal.screen.composer.draft = Draft("message", "")
    async with open_terminal(server.url, saved_path=path) as terminal:
        await terminal.press("f9", *"hel", "ctrl+j")
        assert await peer.receive() == "say-hello"
        composer = terminal.screen.composer
        await terminal.until(lambda: composer.draft.text == "")
        await terminal.press("f9", "down", "enter")
        await terminal.until(lambda: composer.draft.text == "say-other")
        await terminal.press("f9", "ctrl+d")
        await terminal.until(lambda: list(SavedMessages(path).read()) == ["other"])
        await terminal.press("escape")


async def test_messages_are_picked_by_collection(server, peer, open_terminal, tmp_path):
    saved = SavedMessages(tmp_path / "m.jsonl")
    for name in ("auth/login", "alone", " rooms / join ", "auth/logout"):
        saved.save(name, Draft("message", f"say {name.strip()}"))
    assert list(saved.read()) == ["alone", "auth/login", "auth/logout", "rooms/join"]
    async with open_terminal(server.url, saved_path=saved.path) as terminal:
        await terminal.press("f9")
        await terminal.shows("alone", "auth", "login", "logout", "rooms", "join", "Next collection")
        rows = [line.strip("│ ").split("  ")[0].strip() for line in terminal.screen_text().splitlines()]
        assert rows.index("alone") < rows.index("auth") < rows.index("login") < rows.index("rooms")
        await terminal.press("tab", "down", "ctrl+j")
        assert await peer.receive() == "say auth/logout"
        await terminal.press("f9", "tab", "tab", "tab", "shift+tab", "ctrl+j")
        assert await peer.receive() == "say rooms / join"
        await terminal.press("f9", *"auth", "slash", "ctrl+d")
        await terminal.until(lambda: list(saved.read()) == ["alone", "auth/logout", "rooms/join"])
        await terminal.press("escape")


async def test_the_types_stand_below_each_other_whatever_the_names(server, open_terminal, tmp_path):
    saved = SavedMessages(tmp_path / "m.jsonl")
    for name in ("alone", "auth/login", f"auth/{'x' * 40}", "auth/日本語"):
        saved.save(name, Draft("a.type", "text"))
    async with open_terminal(server.url, saved_path=saved.path) as terminal:
        await terminal.press("f9")
        await terminal.shows("alone", "login", "xxx…")
        options = terminal.screen.query_one("OptionList").options
        rows = [option.prompt for option in options if not option.disabled]
        assert len(rows) == 4
        assert len({row[: row.plain.index("a.type")].cell_length for row in rows}) == 1


@pytest.mark.parametrize("name", ["", " ", "/", "auth/", " / "])
def test_a_name_is_needed_beside_that_of_a_collection(tmp_path, name):
    with pytest.raises(ConfigError, match="give the message a name"):
        SavedMessages(tmp_path / "m.jsonl").save(name, Draft("message", "x"))


async def test_a_message_without_a_name_is_not_saved(server, open_terminal, tmp_path):
    async with open_terminal(server.url, saved_path=tmp_path / "m.jsonl") as terminal:
        await terminal.press("alt+s", "enter")
        await terminal.shows("give the message a name")
    assert not (tmp_path / "m.jsonl").exists()


def test_what_is_saved_comes_back_as_it_was(tmp_path):
    saved = SavedMessages(tmp_path / "m.jsonl")
    drafts = {"b": Draft("chat.send", '{"n": 1.10}\n'), "a": Draft("message", "[x", Form.TEXT)}
    for name, draft in drafts.items():
        saved.save(f" {name} ", draft)
    assert saved.read() == drafts
    assert [name for name, _ in saved.search("")] == ["a", "b"]
    assert [name for name, _ in saved.search("CHAT 1.1")] == ["b"]
    saved.save("a", Draft("message", "new"))
    assert saved.read()["a"].text == "new"
    assert [json.loads(line)["name"] for line in saved.path.read_text().splitlines()] == ["a", "b"]


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"name": "x"}', '{"name":"x","type":"t","text":"","form":"?"}'])
def test_a_file_with_something_else_in_it_is_named_and_left_alone(tmp_path, line):
    path = tmp_path / "m.jsonl"
    path.write_text(f'{{"name":"a","type":"t","text":"x"}}\n{line}\n')
    before = path.read_text()
    saved = SavedMessages(path)
    with pytest.raises(ConfigError, match="jsonl:2"):
        saved.save("b", Draft("message", "x"))
    with pytest.raises(ConfigError, match="jsonl:2"):
        saved.delete("a")
    assert path.read_text() == before


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        SavedMessages(tmp_path / "missing" / "m.jsonl").save("a", Draft("message", "x"))

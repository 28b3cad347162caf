"""The terminal client as a person has it: a real terminal, keys, and what stands on the screen."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator

import pytest

from tests.tmux import Tmux

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Terminal(Tmux):
    """One in which `wsctl` is started as somebody types it."""

    def start(self, *arguments: str, **variables: str) -> None:
        settings = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
        command = [*settings, shlex.quote(sys.executable), "-m", "cli.main", *map(shlex.quote, arguments)]
        self.keys(" ".join(command) + "; echo left with $?", "Enter")


@pytest.fixture
def tmux(tmp_path, monkeypatch) -> Iterator[Terminal]:
    from pathlib import Path

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SHELL", "/bin/sh")
    terminal = Terminal(tmp_path, 80, 24)
    yield terminal
    terminal.end()


def test_two_people_talk_and_one_leaves(serving, wsctl, tmux, tmp_path):
    server = serving()
    tmux.start("connect", server.url, "--session", "room", "--record", "talk.jsonl")
    tmux.wait_for("● open", "session_created", "c Write")
    said = wsctl("connect", server.url, "--session", "room", "--send", "hello from a pipe", "--expect", "message")
    assert said.returncode == 0, said.stderr
    tmux.wait_for('"hello from a pipe"')
    tmux.keys("c")
    tmux.keys("-l", "and from a terminal")
    tmux.keys("C-j")
    tmux.wait_for("▲ message", '"and from a terminal"')
    tmux.keys("Escape")
    tmux.wait_for("c Write")
    tmux.keys("Up", "Enter")
    tmux.wait_for('"type": "message"')
    server.stop()
    tmux.wait_for("1001 going away")
    tmux.keys("C-q")
    tmux.wait_for("left with 0")
    lines = map(json.loads, (tmp_path / "talk.jsonl").read_text().splitlines())
    recorded = [line["data"] for line in lines if "type" in line]  # the others tell of the connection
    assert "hello from a pipe" in recorded
    assert recorded.count("and from a terminal") == 2


def test_without_a_word_the_form_asks_where_to_go(serving, tmux):
    tmux.start("connect")
    tmux.wait_for("Connect as", "ws://127.0.0.1:8765/socket.io/")
    tmux.keys("Enter")
    tmux.wait_for("cannot connect:", "● closed")
    tmux.keys("C-n")
    tmux.wait_for("Connect as")
    tmux.keys("C-q")
    tmux.wait_for("left with 0")


def test_the_screen_is_as_large_as_the_terminal_whatever_a_shell_has_exported(tmux):
    tmux.start("connect", COLUMNS="40", LINES="10")
    screen = tmux.wait_for("Connect as", "^q Quit").splitlines()
    assert "^q Quit" in screen[23]
    assert max(map(len, screen)) > 40
    tmux.keys("C-q")
    tmux.wait_for("left with 0")


def test_a_recording_is_opened_without_a_server(tmux, tmp_path):
    line = {"type": "message", "timestamp": 1, "data": "kept", "receivedAtMs": 1764000000000}
    (tmp_path / "old.jsonl").write_text(json.dumps(line) + "\n")
    tmux.start("connect", "--open", "old.jsonl")
    tmux.wait_for("● recording", '"kept"', "old.jsonl")
    tmux.keys("C-q")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--theme", "nonsense"), "--theme: 'nonsense' is not one; themes are "),
        (("--open", "missing.jsonl"), "missing.jsonl: No such file"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(tmux, arguments, problem):
    tmux.start("connect", *arguments)
    tmux.wait_for(problem, "left with 2")

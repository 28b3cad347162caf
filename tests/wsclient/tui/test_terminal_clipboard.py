"""Nothing is called copied that nobody checked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from wsclient.tui.io.clipboard import PROGRAMS, copy


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    for _, variable in PROGRAMS:
        if variable:
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", f"{folder}")
    return folder


@pytest.mark.parametrize(("command", "variable"), PROGRAMS, ids=lambda value: str(value[0]) if value else "")
def test_each_program_gets_the_text_where_it_can_work(folder, command, variable):
    program(folder, command[0], f'/bin/cat > {folder}/copied; echo "$@" > {folder}/how')
    environment = {"PATH": str(folder), **({variable: "x"} if variable else {})}
    assert copy("it's é\n", environment) == ("tmux buffer" if command[0] == "tmux" else command[0])
    assert (folder / "copied").read_text("utf-8") == "it's é\n"
    assert (folder / "how").read_text().split() == list(command[1:])
    if variable:
        assert copy("x", {"PATH": str(folder)}) is None


def test_a_program_that_fails_has_not_copied(folder):
    program(folder, "pbcopy", "exit 1")
    assert copy("x", dict(os.environ)) is None


async def test_without_any_it_says_so(server, peer, open_terminal, folder):
    async with open_terminal(server.url) as terminal:
        await peer.send("x")
        await terminal.until(lambda: terminal.rows().count("message") == 1)
        for key in "yY":
            await terminal.press(key)
            await terminal.says("was asked to copy it, and may not have")
            assert not any("copied" in note.message for note in terminal.app._notifications)
            terminal.app.clear_notifications()


async def test_with_one_it_says_which(server, peer, open_terminal, folder):
    program(folder, "pbcopy", f"/bin/cat > {folder}/copied")
    async with open_terminal(server.url) as terminal:
        await peer.send("it's")
        await terminal.until(lambda: terminal.rows().count("message") == 1)
        await terminal.press("y")
        await terminal.says("copied as it is, by pbcopy")
        assert '"it\'s"' in (folder / "copied").read_text()


def test_tmux_has_it_in_its_buffer(tmp_path, monkeypatch):
    import shutil

    if shutil.which("tmux") is None:
        pytest.skip("there is no tmux")
    socket = str(tmp_path / "tmux")
    subprocess.run(["tmux", "-S", socket, "-f", "/dev/null", "new-session", "-d", "sleep", "60"], check=True)
    try:
        environment = {"PATH": os.environ["PATH"], "TMUX": f"{socket},1,0"}
        assert copy("in the buffer", environment) == "tmux buffer"
        shown = subprocess.run(["tmux", "-S", socket, "show-buffer"], check=True, capture_output=True, text=True)
        assert shown.stdout == "in the buffer"
    finally:
        subprocess.run(["tmux", "-S", socket, "kill-server"], check=True)

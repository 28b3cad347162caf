"""What the pages show as commands works when somebody pastes it: each block is run in a shell, as its reader would."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.recipes import BLOCKS, NOT_RUN, OPS_PORT, RECIPES, ROOT, SECRET

HANG_S = 120
LISTENS = "Ctrl-C"  # how the last of the lines ends that a server says when it starts
STAND_INS = {"pip": "exit 0", "aplay": "cat > /dev/null", "ffmpeg": "cat question.wav"}


class Desk:
    """A folder with `wsctl` on the PATH, a port of its own, and terminals to paste into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir()
        for name, text in {"wsctl": f'exec {shlex.quote(sys.executable)} -m cli.main "$@"', **STAND_INS}.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        url = f"ws://127.0.0.1:{self.port}/socket.io/"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "URL": url,
            "WSCTL_OPS_URL": f"http://127.0.0.1:{OPS_PORT}",
            **{"WSCTL_URL": url, "WSCTL_PORT": str(self.port), "WSCTL_JWT_SECRET": SECRET, "WSCTL_DURATION": "1s"},
        }

    @contextmanager
    def terminal(self, command: str, *, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=HANG_S)

    @contextmanager
    def server(self, line: str) -> Iterator[None]:
        """Run a line of a block in the first terminal; at the end Ctrl-C must end it well."""
        with self.terminal(f"exec {line}") as process:
            said = []
            while not said or LISTENS not in said[-1]:
                said.append(process.stderr.readline())
                assert said[-1], "".join(said)
            yield
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=HANG_S)
            assert process.returncode == 0


def split(block: str) -> tuple[list[str], str]:
    """Return the servers that a block starts in a terminal of their own, and what is typed in the second one."""
    lines = block.replace("\\\n", " ").splitlines()
    servers = [line for line in lines if line.startswith("wsctl serve ") and not line.endswith("&")]
    return servers, "\n".join(line for line in lines if line not in servers)


def test_every_block_of_commands_is_run_or_says_why_not():
    assert set(BLOCKS) == set(RECIPES) | set(NOT_RUN)
    assert not set(RECIPES) & set(NOT_RUN)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=re.sub(r"[^\w.]+", " ", name)[:70], marks=[pytest.mark.slow] * item.is_slow)
        for name, item in RECIPES.items()
    ],
)
def test_a_recipe_does_what_its_page_says(name, tmp_path):
    recipe = RECIPES[name]
    for program in ("jq", "curl", *recipe.needs):
        if program in BLOCKS[name] + " ".join(recipe.needs) and shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    desk = Desk(tmp_path)
    recipe.before(tmp_path)
    block = BLOCKS[name].replace("9000", str(desk.port))
    for pattern, text in recipe.instead.items():
        block = re.sub(pattern, text, block)
    servers, commands = split(block)
    if recipe.serves is not None:
        servers.insert(0, f"wsctl serve {recipe.serves}")
    with ExitStack() as stack:
        for line in servers:
            stack.enter_context(desk.server(line))
        if recipe.feeds:
            feed = f"while :; do echo {shlex.quote(recipe.feeds.strip())}; done | wsctl connect --session room "
            stack.enter_context(desk.terminal(f"{feed} --type chat.send --rate 5 > /dev/null"))
            process = stack.enter_context(desk.terminal(commands))
            shown = process.stdout.readline()
        elif commands.strip():
            process = stack.enter_context(desk.terminal(commands, stdin=subprocess.PIPE))
            shown, told = process.communicate(recipe.stdin, timeout=HANG_S)
            assert process.returncode in recipe.exits, told
        else:
            shown = ""
    for text in recipe.shows:
        assert text in shown

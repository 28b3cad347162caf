"""The Makefile: the first command installs little and says what, the others bring the rest; nothing twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What make sees of a fresh clone."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def plan(clone: Path, target: str) -> str:
    """Return the commands that make would run."""
    # Without what a make above this one says of itself: it would have its own say, with the name of the directory.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    command = ["make", "--no-print-directory", "-n", target]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_serving_installs_neither_extras_nor_tools_and_says_what_it_installs(clone):
    commands = plan(clone, "serve")
    assert "--editable .\n" in commands
    assert "--group" not in commands
    assert "voice" not in commands.replace("voice backends", "")
    assert commands.index("echo 'installing") < commands.index("-m venv") < commands.index("wsctl serve")
    assert "MB" in commands


@pytest.mark.parametrize("target", ["install", "test", "check", "bench", "format"])
def test_the_other_targets_bring_the_rest_and_say_so(clone, target):
    commands = plan(clone, target)
    assert "--editable '.[voice,whisper,llm]' --group dev" in commands
    assert commands.count("echo 'installing") == 1


def test_nothing_is_installed_twice(clone):
    (clone / ".venv").mkdir()
    for stamp in (".serving", ".installed"):
        (clone / ".venv" / stamp).touch()
    for target in ("serve", "test", "check"):
        assert "install" not in plan(clone, target)

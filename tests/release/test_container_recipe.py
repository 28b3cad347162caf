"""The image of docs/loadtest.md as far as it goes without docker: its steps in a fresh environment, and its program."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.pages import ROOT, blocks
from tests.pythons import pythons

HANG_S = 300
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
(RECIPE,) = blocks(ROOT / "docs" / "loadtest.md", "dockerfile")
STEPS = [line.split(maxsplit=1) for line in RECIPE.splitlines()]
SAID = dict(STEPS)
COMMANDS = [shlex.split(command) for command in SAID["RUN"].split("&&")]
(VERSION,) = re.findall(r"^python:(3\.\d+)-slim$", SAID["FROM"])


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WSCTL_", "PYTHON"))}
    done = subprocess.run(
        command, cwd=cwd, env=environment | variables, capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert done.returncode in (0, 98), done.stdout + done.stderr
    return done


def test_its_steps_fit_each_other_and_the_project():
    assert [name for name, _ in STEPS] == ["FROM", "COPY", "RUN", "USER", "WORKDIR", "ENTRYPOINT"]
    assert tuple(map(int, VERSION.split("."))) >= tuple(map(int, PROJECT["requires-python"].strip(">=").split(".")))
    source = SAID["COPY"].split()[1]
    added = ["useradd", "-m", SAID["USER"]]
    assert [["pip", "install", source], ["rm", "-rf", source], added] == COMMANDS
    assert SAID["WORKDIR"] == f"/home/{SAID['USER']}"
    assert json.loads(SAID["ENTRYPOINT"])[0] in PROJECT["scripts"]


def test_what_is_copied_has_what_the_wheel_is_made_of_and_nothing_that_was_installed():
    ignored = (ROOT / ".dockerignore").read_text().split()
    for folder in (".git", ".venv", "**/node_modules"):
        assert folder in ignored
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tops = {line.split("/")[0] for line in tracked.splitlines()}
    assert not tops & set(ignored)


@pytest.mark.slow
@pytest.mark.skipif(VERSION not in pythons(), reason=f"Python {VERSION} is not installed")
def test_it_installs_without_a_compiler_and_its_program_gives_a_verdict(tmp_path):
    """Packages come ready-made alone, since the slim image has no compiler."""
    source, home, environment = tmp_path / "src", tmp_path / "home", tmp_path / "venv"
    home.mkdir()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    run(pythons()[VERSION], "-m", "venv", environment, cwd=home)
    binaries = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for command in COMMANDS:
        words = [str(source) if word == SAID["COPY"].split()[1] else word for word in command]
        if words[0] != "useradd":  # which would change this machine
            run(*words, cwd=home, PATH=binaries, PIP_ONLY_BINARY=":all:", HOME=str(home))
    assert not source.exists()
    program = [*json.loads(SAID["ENTRYPOINT"]), "heartbeat", "--serve", "--connections", "5", "--duration", "1s"]
    done = run(str(environment / "bin" / program[0]), *program[1:], "--out", "reports", cwd=home, PATH=binaries)
    assert done.stdout.startswith(("PASSED", "INVALID"))
    assert (home / "reports" / "summary.json").is_file()

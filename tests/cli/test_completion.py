"""Completion in real shells: bash at a prompt, zsh and fish as their own commands show it."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import HANG_S, WSCTL, environment

PROFILES = '[profiles.staging]\nurl = "ws://a/"\n[profiles.local]\nurl = "ws://b/"\n'


@pytest.fixture
def shell_environment(tmp_path: Path) -> dict[str, str]:
    """One in which `wsctl` is a program on PATH, as where it is installed."""
    program = tmp_path / "bin" / "wsctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(WSCTL)} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "wsctl.toml").write_text(PROFILES)
    path = f"{program.parent}:{os.environ['PATH']}"
    return environment(PATH=path, HOME=str(tmp_path), TERM="dumb", PS1="$ ", INPUTRC="/dev/null", LC_ALL="C.UTF-8")


class Prompt:
    """An interactive bash at a pseudo-terminal, which has the script of `wsctl completion bash`."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self._end, theirs = pty.openpty()
        command = ["bash", "--norc", "--noprofile", "-i"]
        self._bash = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=variables, start_new_session=True
        )
        os.close(theirs)
        self.type('bind "set bell-style none"; eval "$(wsctl completion bash)"; echo "rea"dy\n')
        self.wait_for("\nready")

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def wait_for(self, text: str) -> str:
        """Return what came until this text did."""
        seen, limit = "", time.monotonic() + HANG_S
        while text not in seen.replace("\r", ""):
            ready, _, _ = select.select([self._end], [], [], max(limit - time.monotonic(), 0))
            assert ready, f"no {text!r} in {seen!r}"
            seen += os.read(self._end, 4096).decode()
        return seen.replace("\r", "")

    def close(self) -> None:
        self._bash.kill()
        self._bash.wait(HANG_S)
        os.close(self._end)


@pytest.fixture
def prompt(tmp_path: Path, shell_environment: dict[str, str]) -> Iterator[Prompt]:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    opened = Prompt(tmp_path, shell_environment)
    yield opened
    opened.close()


def test_bash_completes_at_the_prompt(prompt):
    prompt.type("wsctl expl\t")
    prompt.wait_for("wsctl explain ")
    prompt.type("AUTH_R\t")
    prompt.wait_for("AUTH_REQUIRED ")
    prompt.type("\x15wsctl connect --prof\t")
    prompt.wait_for("--profile ")
    prompt.type("sta\t")
    prompt.wait_for("staging ")
    prompt.type("\x15wsctl serve --profile \t\t")
    assert "dev" in prompt.wait_for("prod")


def test_bash_offers_files_where_wsctl_has_nothing_to_offer(prompt, tmp_path):
    (tmp_path / "question.wav").touch()
    prompt.type("wsctl voice send que\t")
    prompt.wait_for("question.wav ")


def test_fish_completes(tmp_path, shell_environment):
    if shutil.which("fish") is None:
        pytest.skip("needs fish")
    script = 'wsctl completion fish | source; complete -C "wsctl expl"; complete -C "wsctl connect --profile lo"'
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=tmp_path,
        env=shell_environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    first, second = done.stdout.splitlines()
    assert first == "explain\tExplain a close code, an error code or a message type."
    assert second == "local"


def test_zsh_takes_the_script_and_is_answered_in_its_words(tmp_path, shell_environment):
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh")
    script = (
        'autoload -Uz compinit; compinit -D; eval "$(wsctl completion zsh)"; print $_comps[wsctl]; '
        "_arguments() { print -r -- $* }; words=(wsctl loadtest find); CURRENT=3; _wsctl_completion"
    )
    done = subprocess.run(
        ["zsh", "-f", "-c", script],
        cwd=tmp_path,
        env=shell_environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    first, second = done.stdout.splitlines()
    assert first == "_wsctl_completion"
    assert second.startswith('*: :(("find-max":"Find the most that holds')


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A server that answers everything with `body`."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
    thread.join()


def completed(tmp_path: Path, *words: str, arguments: tuple[str, ...] = (), **variables: str):
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_WSCTL_COMPLETE": "complete_bash"}
    command = [WSCTL[0], *arguments, *WSCTL[1:]]
    return subprocess.run(
        command, cwd=tmp_path, env=environment(**asked, **variables), capture_output=True, text=True, timeout=HANG_S
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("wsctl", "co"), ["connect", "connections", "completion"]),
        (("wsctl", "--v"), ["--version"]),
        (("wsctl", "loadtest", "s"), ["soak"]),
        (("wsctl", "loadtest", "--thr"), ["--threshold"]),  # of the quick test, which needs no name
        (("wsctl", "loadtest", "find-max", "vo"), ["voice"]),
        (("wsctl", "token", "jwt", "--su"), ["--sub"]),
        (("wsctl", "serve", "--log-level", "w"), ["warning"]),
        (("wsctl", "connect", "ws://127.0.0.1:9/", "--ses"), ["--session"]),
        (("wsctl", "nonsense", "x"), []),
        (("wsctl", "completion", ""), ["bash", "zsh", "fish"]),
    ],
)
def test_every_place_offers_what_can_stand_there(tmp_path, words, expected):
    done = completed(tmp_path, *words)
    assert done.stdout.split() == expected
    assert done.stderr == ""


def test_no_shell_is_given_a_name_that_it_would_run(tmp_path):
    names = [
        "lobby",
        "x\\$(touch y)",
        "x\\`touch y\\`",
        "lobby;touch y;#",
        "a b",
        "l\u202e",
        "--yes",
        "lobby=$HOME",
        "~",
    ]
    rows = [{"name": name, "connections": 1} for name in names]
    body = json.dumps({"rooms": rows, "sessions": rows, "missing": []}).encode()
    with answering(body) as url:
        for option in ("--room", "--session"):
            assert completed(tmp_path, "wsctl", "history", option, "", WSCTL_OPS_URL=url).stdout.split() == ["lobby"]
        assert completed(tmp_path, "wsctl", "history", "--room", "k", WSCTL_OPS_URL=url).stdout.split() == []


def test_no_mistake_elsewhere_disturbs_the_prompt(tmp_path):
    (tmp_path / "wsctl.toml").write_text("[serve\n")
    assert completed(tmp_path, "wsctl", "connect", "--profile", "x").stderr == ""
    done = completed(tmp_path, "wsctl", "serve", "--profile", "p", WSCTL_PROT="1", WSCTL_PORT="x")
    assert (done.stdout.split(), done.stderr) == (["prod"], "")


def test_naming_the_commands_imports_none(tmp_path):
    done = completed(tmp_path, "wsctl", "", arguments=("-X", "importtime"))
    assert "loadtest" in done.stdout.split()
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "cli.main" in loaded or "cli.output" in loaded
    assert not loaded & {"cli.serve", "cli.connect", "cli.loadtest", "wsserver", "rich", "asyncio"}


def test_a_shell_that_there_is_no_script_for_is_named(wsctl):
    done = wsctl("completion", "tcsh")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_goes_to_standard_output_and_nothing_else_does(wsctl, shell):
    done = wsctl("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_WSCTL_COMPLETE=complete_" + shell in done.stdout
    assert sys.executable not in done.stdout

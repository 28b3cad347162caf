"""The examples in the help of `wsctl connect` and `wsctl loadtest`: each does what it shows, for its kind of server."""

from __future__ import annotations

import re
import shlex
from typing import Final

import pytest

from cli import connect, loadtest
from tests import forked
from tests.seed.test_load_foreign import Load, load, node, pytestmark  # noqa: F401 - the marks and a fixture

HANG_S = 60
SERVERS: Final = {"raw": "echo", "socketio": "socketio", "graphql-ws": "graphql", "phoenix": "phoenix"}
PLACE: Final = re.compile(r"localhost:\d+")


def examples(epilog: str, command: str) -> list[str]:
    """Return the examples of a help that go to some server, a line each."""
    lines = epilog.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith(f"wsctl {command}") and PLACE.search(line)]


TALKS: Final = examples(connect.EPILOG, "connect")
LOADS: Final = [line for line in examples(loadtest._EPILOG, "loadtest") if "scenario.py" not in line]


def server_of(line: str) -> str:
    protocol = re.search(r"--protocol (\S+)", line)
    return SERVERS[protocol[1]] if protocol else "everyone"


def test_there_is_one_for_each_kind_of_server():
    kinds = {"everyone", "socketio", "graphql", "phoenix"}
    assert {server_of(line) for line in TALKS} == kinds
    assert {server_of(line) for line in LOADS} == kinds | {"echo"}


@pytest.mark.parametrize("line", TALKS)
def test_a_conversation_is_one(line, tmp_path):
    with node(server_of(line)) as url:
        arguments = shlex.split(PLACE.sub(url.removeprefix("ws://"), line))[1:]
        if "--send" not in arguments:
            arguments += ["--send", '["1","9","room:1","new_msg",{}]', "--count", "1"]
        done = forked.run([*arguments, "--timeout", "30s"], timeout=HANG_S, cwd=tmp_path, env=forked.environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if "--record" in arguments:
        assert len((tmp_path / arguments[arguments.index("--record") + 1]).read_text().splitlines()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("line", LOADS)
def test_a_load_test_has_a_verdict(line, load: Load):  # noqa: F811
    with node(server_of(line)) as url:
        result = load(*shlex.split(PLACE.sub(url.removeprefix("ws://"), line))[2:], "--connections", "3")
    assert result.failures == [], result.err
    assert result.summary["ledger"]["expected"] > 0

"""A server without the terminal client and the load tester, and commands that miss their package (ADR 0007)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

import pytest
from websockets.sync.client import connect

from tests.cli.conftest import HANG_S, ROOT, environment
from wscore.installation import DISTRIBUTION, line_for

AWAY = ("textual", "locust", "gevent", "rich", "hdrh", "tomlkit")
WITHOUT = f"import sys\nfor name in {AWAY}: sys.modules[name] = None\nfrom cli.main import main\nmain()"


def start(*arguments: str, cwd) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WITHOUT, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=cwd, env=environment())


def test_the_server_runs_with_everything_away_that_it_does_not_need(tmp_path):
    with start("serve", "--port", "0", "--log-format", "json", cwd=tmp_path) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if (event := json.loads(line))["event"] == "server.listening":
                break
        token = subprocess.run(
            [sys.executable, "-c", WITHOUT, "token", "guest"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(),
            timeout=HANG_S,
            check=True,
        ).stdout.strip()
        with connect(f"{event['url']}?token={token}") as client:
            assert json.loads(client.recv(HANG_S))["type"] == "session_created"
        server.terminate()
        server.communicate(timeout=HANG_S)
    assert server.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "package"),
    [(["loadtest", "heartbeat", "ws://127.0.0.1:1/", "--duration", "1s"], "hdrh"), (["explain", "4002"], "rich")],
)
def test_a_command_names_the_package_that_it_misses(tmp_path, arguments, package):
    with start(*arguments, cwd=tmp_path) as process:
        _, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 1
    assert re.fullmatch(rf"wsctl: {package}\S* is not installed, and this command needs it; .* install .*\n", errors)


def test_the_group_for_a_server_names_real_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(project["dependency-groups"]["server"]) < set(project["project"]["dependencies"])
    assert project["project"]["name"] == DISTRIBUTION


@pytest.mark.parametrize(
    ("direct_url", "prefix", "line"),
    [
        (None, "/usr", "/usr/bin/python3 -m pip install 'wsctl-toolkit[voice]'"),
        (None, "/home/a/.local/share/pipx/venvs/x", "pipx install --force 'wsctl-toolkit[voice]'"),
        (None, "/home/a/.local/share/uv/tools/x", "uv tool install --force 'wsctl-toolkit[voice]'"),
        ({"url": "file:///src/gone", "dir_info": {}}, "/v", "/usr/bin/python3 -m pip install 'wsctl-toolkit[voice]'"),
        ({"url": "file:///tmp/w-1.whl"}, "/v", "/usr/bin/python3 -m pip install 'wsctl-toolkit[voice]'"),
    ],
)
def test_the_install_line_suits_the_installation(direct_url, prefix, line):
    text = None if direct_url is None else json.dumps(direct_url)
    assert line_for("voice", direct_url=text, prefix=prefix, executable="/usr/bin/python3") == line


def test_a_checkout_that_is_still_there_is_installed_again(tmp_path):
    clone = tmp_path / "my clone"
    clone.mkdir()
    direct_url = json.dumps({"url": clone.as_uri(), "dir_info": {}})
    line = line_for("voice", direct_url=direct_url, prefix="/v", executable="/usr/bin/python3")
    assert line == f"/usr/bin/python3 -m pip install '{clone}[voice]'"

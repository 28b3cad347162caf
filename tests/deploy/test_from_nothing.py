"""The runbook's way from nothing to a server, and the image's: a fresh environment that has the server alone."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy import files as deploy
from tests.pages import ROOT

HANG_S = 300
RUNBOOK = ROOT / "docs/operations.md"
# What the machine's own manager or package system would do, for which a test has no machine.
OF_THE_MACHINE = ("apt-get ", "systemctl ", "systemd-sysusers", "sysctl ", "chown ")
START = "systemctl enable --now redis-server wsctl\n"


def clean_environment(**variables: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("WSCTL_", "PYTHON"))}
    return kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | variables


def shell(script: str, folder: Path, **variables: str) -> str:
    """Run a script to its end, in which each command has to succeed; return what it says."""
    ran = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture
def start():
    """Start a process with its log on a pipe; it ends with the test."""
    started = []

    def run(command: list[str], folder: Path, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command, cwd=folder, env=clean_environment(**variables), stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(HANG_S)
        process.stderr.close()


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Path:
    """What a build of the image gets, by its .dockerignore; and deploy/ beside it, for the runbook."""
    folder = tmp_path_factory.mktemp("context")
    for line in (deploy.DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines():
        if line.startswith("!"):
            source, copy = ROOT / line[1:], folder / line[1:]
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, copy)
    shutil.copytree(deploy.DEPLOY, folder / "deploy")
    return folder


@pytest.fixture(scope="module")
def installed(context, tmp_path_factory) -> Path:
    """The environment that the RUN steps of the Dockerfile make, in place of /opt/wsctl."""
    place = tmp_path_factory.mktemp("image") / "wsctl"
    for name, step in deploy.instructions():
        if name == "RUN":
            here = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", step.replace("--no-cache-dir ", ""))
            shell(here.replace("/opt/wsctl", str(place)), context)
    return place


def from_nothing() -> list[str]:
    text = RUNBOOK.read_text("utf-8").partition("\n## From nothing to a server\n")[2].partition("\n### ")[0]
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def until_two_workers_serve(process: subprocess.Popen[str]) -> None:
    workers = 0
    while workers < 2:
        workers += json.loads(process.stderr.readline())["event"] == "worker.serving"


def test_the_runbook_installs_what_the_image_has():
    steps = " && ".join(step for name, step in deploy.instructions() if name == "RUN").replace("--no-cache-dir ", "")
    install, _, _ = from_nothing()
    assert install.splitlines()[2:] == [
        "python3" + steps.split(" && ")[0].removeprefix("python"),
        *steps.split(" && ")[1:],
    ]


@pytest.mark.slow
def test_the_steps_of_the_image_make_a_server_that_its_health_check_finds(installed, redis, start, tmp_path):
    packages = json.loads(shell(f"{installed}/bin/python -m pip list --format json", tmp_path))
    names = {package["name"].lower() for package in packages}
    assert {"wsctl-toolkit", "picows", "redis", "starlette"} <= names
    assert not names & {"textual", "locust", "gevent", "hdrhistogram", "openai", "xllamacpp"}

    port = free_port()
    launch = deploy.image()
    environment = launch.environment | {
        "PATH": f"{installed}/bin:{os.environ['PATH']}",
        "WSCTL_PORT": "0",
        "WSCTL_OPS_PORT": str(port),
    }
    secret = {"WSCTL_JWT_SECRET": "a secret for tests, 32 bytes or more"}
    # What it is started with needs each of its extras.
    asked = {"WSCTL_WEBHOOK": "http://127.0.0.1:9/", "WSCTL_WEBHOOK_SECRET": "whsec_" + "a" * 44}
    asked |= {"WSCTL_BROKER": redis.url, "WSCTL_WORKERS": "2"}
    command = [str(installed / "bin" / json.loads(deploy.only("ENTRYPOINT"))[0]), *launch.words]
    without = start(command, tmp_path, **environment)
    assert without.wait(HANG_S) == 2  # nobody could connect
    check = json.loads(deploy.only("HEALTHCHECK").partition("CMD ")[2])
    program = [word.replace(":9100/", f":{port}/") for word in check]
    program[0] = str(installed / "bin" / check[0])
    assert subprocess.run(program, stderr=subprocess.DEVNULL, timeout=HANG_S).returncode != 0

    process = start(command, tmp_path, **environment, **secret, **asked)
    until_two_workers_serve(process)
    assert subprocess.run(program, timeout=HANG_S).returncode == 0
    process.terminate()
    assert process.wait(HANG_S) == 0


@pytest.mark.slow
def test_the_runbook_leads_from_nothing_to_a_server(installed, context, redis, start, tmp_path):
    """Its commands but for those of the machine's own, in folders of the test; the unit's command starts the server."""
    for program in ("openssl", "curl"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    _, settings, questions = from_nothing()
    assert settings.endswith(START)
    port, ops_port = free_port(), free_port()
    places = {
        "/opt/wsctl": str(installed),
        "/etc/": f"{tmp_path}/etc/",
        ":8765/": f":{port}/",
        ":9100/": f":{ops_port}/",
    }

    def here(block: str) -> str:
        lines = [line for line in block.splitlines() if not line.startswith(OF_THE_MACHINE)]
        text = "\n".join(lines)
        for old, new in places.items():
            text = text.replace(old, new)
        return text

    shell(here(settings), context)
    etc = tmp_path / "etc"
    assert (etc / "wsctl/wsctl.toml").stat().st_mode & 0o777 == 0o640
    assert {(etc / "wsctl" / name).stat().st_mode & 0o777 for name in ("jwt.secret", "ops.key")} == {0o640}
    unit = (etc / "systemd/system/wsctl.service").read_text("utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    environment = {"WSCTL_PORT": str(port), "WSCTL_OPS_PORT": str(ops_port), "WSCTL_BROKER": redis.url}
    process = start(shlex.split(here(line)), etc / "wsctl", **environment)
    until_two_workers_serve(process)
    said = shell(here(questions), tmp_path, WSCTL_OPS_URL=f"http://127.0.0.1:{ops_port}")
    assert said.startswith("ready\n")
    assert '"session_created"' in said
    process.terminate()
    assert process.wait(HANG_S) == 0

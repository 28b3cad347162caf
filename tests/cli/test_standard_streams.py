"""Standard streams that are closed, full, or read by nobody: no command breaks, no server stands still."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import websocket

from cli.streams import Narration

HANG_S = 60
CONNECTS = 1200  # what they log is several times what a pipe holds


class Server:
    """A `wsctl serve` on a port that was chosen before, since nothing it says may be read."""

    def __init__(self, command: str, port: int, environment: dict[str, str], folder: Path, stderr: int | None) -> None:
        self.port = port
        self.process = subprocess.Popen(["sh", "-c", command], cwd=folder, env=environment, stderr=stderr)

    def connect(self, token: str) -> websocket.WebSocket:
        ws = websocket.create_connection(f"ws://127.0.0.1:{self.port}/socket.io/?token={token}", timeout=HANG_S)
        assert json.loads(ws.recv())["type"] == "session_created"
        return ws

    def wait_until_it_serves(self) -> None:
        while self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=HANG_S).close()
                return
            except ConnectionRefusedError:
                continue
        raise AssertionError(f"ended with {self.process.returncode}")


@pytest.fixture
def serve_with(tmp_path, wsctl_command, clean_environment) -> Iterator[Callable[..., Server]]:
    """Start a server with a redirection of the shell, and once it serves, return it: `serve_with("2>&-")`."""
    started: list[Server] = []

    def start(redirection: str, stderr: int | None = None) -> Server:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words = [*wsctl_command, "serve", "--port", str(port)]
        command = f"exec {shlex.join(words)} {redirection}"
        server = Server(command, port, clean_environment, tmp_path, stderr)
        started.append(server)
        server.wait_until_it_serves()
        return server

    yield start
    for server in started:
        server.process.kill()
        server.process.wait(HANG_S)


def test_a_log_that_nobody_reads_holds_up_neither_clients_nor_the_end(serve_with, guest_token):
    readable, writable = os.pipe()
    server = serve_with("", stderr=writable)
    os.close(writable)
    token = guest_token()
    for _ in range(CONNECTS):
        server.connect(token).shutdown()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(HANG_S) == 0
    with open(readable, "rb") as pipe:
        text = pipe.read()
    assert len(text) < 1 << 17  # a pipe full
    assert b"\nwsctl serves " in text[:1000]


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&- >&- <&-"])
def test_a_server_serves_and_ends_well_with_nowhere_to_log_to(serve_with, guest_token, redirection):
    server = serve_with(redirection)
    clients = [server.connect(guest_token()) for _ in range(3)]
    clients[0].send('{"type":"ping","timestamp":1}')
    assert json.loads(clients[0].recv())["type"] == "pong"
    for client in clients:
        client.shutdown()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(HANG_S) == 0


def test_a_server_outlives_whoever_reads_its_log(serve_with, guest_token):
    readable, writable = os.pipe()
    os.close(readable)
    server = serve_with("", stderr=writable)
    os.close(writable)
    server.connect(guest_token()).shutdown()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(HANG_S) == 0


# The last two are answered with their help, since they say too little.
SAYING = ["token guest", "explain 4002", "completion bash", "--version", "--help", "token guest --help", "", "token"]


@pytest.mark.parametrize("command", SAYING)
@pytest.mark.parametrize(
    ("redirection", "problem"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")]
)
def test_data_that_goes_nowhere_is_one_line_and_exit_1(shell, command, redirection, problem):
    result = shell(f"{command} {redirection}")
    assert result.returncode == 1
    assert result.stderr == f"wsctl: standard output: {problem}\n"


@pytest.mark.parametrize("command", SAYING)
def test_a_reader_that_has_enough_is_no_error(tmp_path, wsctl_command, clean_environment, command):
    readable, writable = os.pipe()
    os.close(readable)
    result = subprocess.run(
        [*wsctl_command, *command.split()],
        cwd=tmp_path,
        env=clean_environment,
        stdout=writable,
        stderr=subprocess.PIPE,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    os.close(writable)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_narration_that_goes_nowhere_does_not_keep_a_command_from_its_work(shell, redirection):
    assert shell(f"token guest {redirection}").returncode == 0
    failed = shell(f"explain nonsense {redirection}")
    assert failed.returncode == shell("explain nonsense").returncode != 0
    assert failed.stderr == ""


def test_a_closed_stdin_is_an_empty_one(shell):
    result = shell("token inspect - <&-")
    assert result.returncode == 2
    assert "TOKEN: is empty" in result.stderr


def test_a_client_whose_words_nobody_reads_goes_on(start_wsctl, serving):
    server = serving()
    client = start_wsctl("connect", server.url, "--session", "room", stdin=subprocess.PIPE)
    assert "connected as" in client.stderr.readline()
    pipe = client.stderr.fileno()
    filler = os.open(f"/proc/{client.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
    filled = 0
    try:
        while True:
            filled += os.write(filler, b"x" * 4096)
    except BlockingIOError:
        os.close(filler)
    assert filled
    client.stdin.write("what is said\n")
    client.stdin.flush()
    server.wait_for("connection.opened")
    while json.loads(client.stdout.readline())["type"] != "message":
        pass
    assert server.stop() == 0  # the client says so, to nobody
    assert client.wait(HANG_S) != 0
    assert len(os.read(pipe, 1 << 20)) == filled


def test_narration_that_found_no_room_is_counted_and_told_once_there_is_some():
    readable, writable = os.pipe()
    narration = Narration(writable, "utf-8")
    said = 0
    while not narration.dropped:
        narration.write(f"line {said}\n")
        said += 1
    narration.write("and one more\n")
    text = os.read(readable, 1 << 20).decode()
    assert text.splitlines() == [f"line {number}" for number in range(said - 1)]
    narration.write("there is room again\n")
    assert os.read(readable, 1 << 20).decode().splitlines() == [
        "(lines that nobody read and that are missing here: 2)",
        "there is room again",
    ]
    os.close(readable)
    os.close(writable)

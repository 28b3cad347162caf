"""Where the lines of `wsctl connect` come from and when their end is the end: terminals, files, pipes, nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SECRET = "a secret for tests, 32 bytes or more"
HANG_S = 60
END_OF_INPUT = b"\x04"  # what Ctrl-D sends

ECHO_APP = """
import msgspec
from wsserver import App, Context
app = App()

@app.on("echo")
async def echo(ctx: Context, data: msgspec.Raw) -> None:
    ctx.reply("echoed", data)
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal: the end that a person types into, and the end that is a program's standard input."""
    person, program = os.openpty()
    yield person, program
    os.close(person)
    os.close(program)


def data_of(stdout: str) -> list[object]:
    return [json.loads(line).get("data") for line in stdout.splitlines()][1:]


def test_what_is_typed_is_sent_and_the_end_of_input_ends_it(serving, start_wsctl, terminal):
    person, program = terminal
    client = start_wsctl("connect", serving().url, "--linger", "200ms", stdin=program)
    assert "connected as" in client.stderr.readline()
    client.stdout.readline()
    os.write(person, b"hello\n")
    assert json.loads(client.stdout.readline())["data"] == "hello"
    os.write(person, END_OF_INPUT)
    assert client.wait(HANG_S) == 0


def test_the_end_of_input_ends_a_terminal_in_which_nothing_was_typed(serving, start_wsctl, terminal):
    person, program = terminal
    client = start_wsctl("connect", serving().url, stdin=program)
    assert "connected as" in client.stderr.readline()
    os.write(person, END_OF_INPUT)
    assert client.wait(HANG_S) == 0


def test_the_terminal_stays_in_the_mode_that_the_shell_needs(serving, start_wsctl, terminal):
    person, program = terminal
    client = start_wsctl("connect", serving().url, stdin=program)
    client.stdout.readline()
    os.write(person, b"hello\n")
    assert json.loads(client.stdout.readline())["data"] == "hello"  # it reads the terminal by now
    assert os.get_blocking(program)


def test_a_terminal_comes_back_by_itself_and_a_script_does_not(serving, start_wsctl, terminal):
    server = serving()
    typed = start_wsctl("connect", server.url, stdin=terminal[1])
    scripted = start_wsctl("connect", server.url)
    for client in (typed, scripted):
        assert "connected as" in client.stderr.readline()
    server.stop()
    assert "1001 going away (Server shutting down); reconnecting in" in typed.stderr.readline()
    assert scripted.wait(HANG_S) == 1
    assert "reconnecting in" not in scripted.stderr.read()


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_long_lines_and_a_last_one_without_its_end_arrive_whole(serving, wsctl, start_wsctl, tmp_path: Path, kind):
    lines = ["x" * 300_000, "short", "é" * 70_000, "last"]
    text = "\r\n".join(lines)
    server = serving()
    if kind == "pipe":
        stdout = wsctl("connect", server.url, stdin=text).stdout
    else:
        (tmp_path / "lines").write_text(text, "utf-8", newline="")
        with (tmp_path / "lines").open("rb") as file:
            stdout, _ = start_wsctl("connect", server.url, stdin=file.fileno()).communicate(timeout=HANG_S)
    assert data_of(stdout) == lines


def test_a_closed_standard_input_is_no_input(serving, tmp_path: Path):
    command = 'exec "$0" -m cli.main connect "$1" --timeout 2s --send hi <&-'
    result = subprocess.run(
        ["sh", "-c", command, sys.executable, serving().url],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=HANG_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert data_of(result.stdout) == ["hi"]


def test_without_input_it_listens_until_the_server_goes(serving, start_wsctl, wsctl):
    server = serving()
    listener = start_wsctl("connect", server.url, "--session", "room", "--linger", "1ms")
    assert "session room" in listener.stderr.readline()
    listener.stdout.readline()
    assert wsctl("connect", server.url, "--session", "room", "--send", "hi").returncode == 0
    assert json.loads(listener.stdout.readline())["data"] == "hi"
    assert listener.poll() is None


def test_pings_do_not_keep_a_script_from_ending(serving, wsctl):
    server = serving("--heartbeat-interval", "100ms", "--heartbeat-timeout", "20s")
    assert wsctl("connect", server.url, "--linger", "300ms", stdin="hi\n").returncode == 0


def test_every_line_to_send_goes_out_before_a_goal_ends_it(serving, start_wsctl, wsctl):
    server = serving()
    listener = start_wsctl("connect", server.url, "--session", "room", "--count", "51", "--timeout", "30s")
    assert "session room" in listener.stderr.readline()
    sends = [part for number in range(50) for part in ("--send", str(number))]
    assert wsctl("connect", server.url, "--session", "room", "--expect", "session_created", *sends).returncode == 0
    stdout, _ = listener.communicate(timeout=HANG_S)
    assert data_of(stdout) == [str(number) for number in range(50)]


def test_a_typed_envelope_keeps_its_numbers_as_they_were_written(serving, wsctl, tmp_path: Path):
    (tmp_path / "echo_app.py").write_text(ECHO_APP)
    data = '{"price":1.10,"big":12345678901234567890}'
    result = wsctl("connect", serving("echo_app:app").url, stdin=f' {{ "type":"echo","data":{data}}}\n')
    assert f'"data":{data}' in result.stdout


def test_an_argument_that_is_not_utf8_is_sent_with_replacement_characters(serving, wsctl):
    result = wsctl("connect", serving().url, "--send", "a\udcffb", "--expect", "message")
    assert result.returncode == 0, result.stderr
    assert data_of(result.stdout) == ["a\ufffdb"]


def test_a_reader_that_has_enough_ends_it_with_0_although_a_goal_is_left(serving, start_wsctl):
    client = start_wsctl("connect", serving().url, "--expect", "never", stdin=subprocess.PIPE)
    assert client.stdout.readline()
    client.stdout.close()
    client.stdin.write("x\n")
    client.stdin.flush()
    assert client.wait(HANG_S) == 0
    assert client.stderr.read().count("\n") == 1  # only that it was connected


def test_an_authorization_header_is_not_outbid_by_a_guest_token(serving, wsctl, user_token):
    server = serving("--guests", "unsigned", WSCTL_JWT_SECRET=SECRET)
    header = f"Authorization: Bearer {user_token('alice')}"
    result = wsctl("connect", server.url, "--count", "1", "-H", header, WSCTL_JWT_SECRET=SECRET)
    assert json.loads(result.stdout)["data"]["userId"] == "alice"


def test_a_time_out_before_any_connection_ends_with_3(wsctl):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = wsctl("connect", f"ws://127.0.0.1:{silent.getsockname()[1]}/", "--timeout", "300ms")
    assert result.returncode == 3
    assert "no connection within 0.3 s" in result.stderr


def test_neither_a_password_nor_a_mistyped_header_is_shown(wsctl):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"ws://alice:s3cret@127.0.0.1:{closed.getsockname()[1]}/"
    refused = wsctl("connect", url)
    assert (refused.returncode, "s3cret" in refused.stderr) == (3, False)
    mistyped = wsctl("connect", "-H", "Authorization Bearer s3cret")
    assert (mistyped.returncode, "s3cret" in mistyped.stderr) == (2, False)
    assert "'Authorization' is not NAME:VALUE" in mistyped.stderr

"""`wsctl connect` in a script: lines in, JSON lines out, and an exit code that a CI job can trust."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path

import pytest

SECRET = "a secret for tests, 32 bytes or more"
HANG_S = 60

ECHO_APP = """
import msgspec
from wsserver import App, Context
app = App()

@app.on("echo")
async def echo(ctx: Context, data: msgspec.Raw) -> None:
    ctx.reply("echoed", data)

@app.on("leave")
async def leave(ctx: Context, code: int) -> None:
    ctx.close(code, "as told")
"""


@pytest.fixture
def echo(serving, tmp_path: Path):
    (tmp_path / "echo_app.py").write_text(ECHO_APP)
    return serving("echo_app:app")


def envelopes(stdout: str) -> list[dict]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_bare_text_becomes_a_message_and_replies_come_back_before_the_end(serving, wsctl):
    result = wsctl("connect", serving().url, stdin="hello\nworld\n")
    assert result.returncode == 0
    greeting, *messages = envelopes(result.stdout)
    assert greeting["type"] == "session_created"
    assert [(message["type"], message["data"]) for message in messages] == [("message", "hello"), ("message", "world")]
    assert "connected as guest_" in result.stderr


def test_a_json_line_with_a_type_is_an_envelope_and_other_json_is_data(echo, wsctl):
    lines = ['{"type":"echo","id":"7","data":1}', '{"a":1}', "[1]", "5", '"x"', "{"]
    result = wsctl("connect", echo.url, "--type", "echo", stdin="\n".join(lines) + "\n")
    replies = [(envelope.get("id"), envelope["data"]) for envelope in envelopes(result.stdout)[1:]]
    assert replies == [("7", 1), (None, {"a": 1}), (None, [1]), (None, "5"), (None, '"x"'), (None, "{")]


def test_send_goes_first_and_expect_ends_with_0(echo, wsctl):
    result = wsctl("connect", echo.url, "--send", '{"type":"ping"}', "--expect", "pong", "--timeout", "30s")
    assert result.returncode == 0
    assert envelopes(result.stdout)[-1]["type"] == "pong"


def test_expect_that_is_not_met_in_time_ends_with_1_and_names_it(echo, wsctl):
    result = wsctl("connect", echo.url, "--expect", "never", "--timeout", "2s")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "wsctl: never did not come: 2 s are over; the types that came are 'session_created'"
    )


def test_every_expected_type_must_come(echo, wsctl):
    both = ["--send", '{"type":"ping"}', "--send", '{"type":"echo"}', "--expect", "pong", "--expect", "echoed"]
    assert wsctl("connect", echo.url, *both).returncode == 0
    assert wsctl("connect", echo.url, *both, "--expect", "more", "--timeout", "2s").returncode == 1


def test_count_ends_after_so_many_lines(echo, wsctl):
    result = wsctl("connect", echo.url, "--count", "3", stdin='{"type":"ping"}\n' * 5)
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 3


def test_a_timeout_without_a_goal_listens_that_long_and_ends_with_0(echo, wsctl):
    assert wsctl("connect", echo.url, "--timeout", "2s").returncode == 0


@pytest.mark.parametrize(("code", "exit_code"), [(1000, 0), (1011, 1), (4004, 1)])
def test_a_connection_that_the_server_ends_decides_the_exit_code(echo, wsctl, code, exit_code):
    result = wsctl("connect", echo.url, "--send", f'{{"type":"leave","data":{code}}}', "--linger", "30s")
    assert result.returncode == exit_code
    assert f"{code} " in result.stderr
    assert "(as told)" in result.stderr


def test_a_goal_missed_because_the_connection_ended_ends_with_1(echo, wsctl):
    result = wsctl("connect", echo.url, "--send", '{"type":"leave","data":1000}', "--expect", "never")
    assert result.returncode == 1
    assert "never did not come" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "expected"),
    [
        (["ws://127.0.0.1:{closed}/"], 3, "connection refused; is the server running? `wsctl serve` starts one"),
        (["ws://no-such-host.invalid"], 3, "cannot connect to ws://no-such-host.invalid/"),
        (["http://127.0.0.1/"], 2, "did you mean ws://?"),
        (["/127.0.0.1"], 2, "is not a ws:// or wss:// URL"),
        (["ws://"], 2, "has no host"),
        (["ws://127.0.0.1:port/"], 2, "Port could not be cast"),
        (["--token", "a", "--sub", "b"], 2, "more than one token is given"),
        (["--sub", "alice"], 2, "JWT secret: none is set"),
        (["--header", "x"], 2, "'x' is not NAME:VALUE"),
        (["--ca", "missing.pem"], 2, "--ca: missing.pem"),
        (["--token-file", "missing"], 2, "--token-file: missing: No such file"),
        (["--timeout", "soon"], 2, "such as 500ms or 25s"),
    ],
)
def test_what_cannot_work_is_one_clear_line(wsctl, arguments, exit_code, expected):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = str(gone.getsockname()[1])
    result = wsctl("connect", *(argument.replace("{closed}", closed) for argument in arguments))
    assert result.returncode == exit_code
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_refused_token_is_one_line_and_exit_4(serving, wsctl):
    server = serving()
    result = wsctl("connect", server.url, WSCTL_TOKEN="guest_secret_1")
    assert result.returncode == 4
    assert "AUTH_INVALID" in result.stderr
    assert "guest_secret_1" not in result.stderr


def test_a_wrong_path_and_a_server_that_is_none_are_told_apart(serving, wsctl):
    server = serving()
    wrong = wsctl("connect", server.url.replace("/socket.io/", "/nothing"))
    assert (wrong.returncode, "HTTP 404" in wrong.stderr) == (3, True)


def test_tokens_come_from_flag_environment_file_or_secret(serving, wsctl, tmp_path, user_token):
    server = serving("--guests", "signed", WSCTL_JWT_SECRET=SECRET)
    (tmp_path / "token").write_text(user_token("filed") + "\n")
    for arguments, variables, user in (
        (["--token", user_token("flagged")], {}, "flagged"),
        ([], {"WSCTL_TOKEN": user_token("env")}, "env"),
        (["--token-file", "token"], {}, "filed"),
        (["--sub", "minted"], {"WSCTL_JWT_SECRET": SECRET}, "minted"),
        ([], {"WSCTL_JWT_SECRET": SECRET}, "guest_"),
    ):
        result = wsctl("connect", server.url, "--count", "1", *arguments, **variables)
        assert result.returncode == 0, result.stderr
        assert envelopes(result.stdout)[0]["data"]["userId"].startswith(user)


def test_hostile_text_reaches_the_terminal_as_escapes_and_keeps_its_value(echo, wsctl):
    hostile = "a\x1b]0;t\x07\x85\u202e\u2028 b"
    line = json.dumps({"type": "echo", "timestamp": 1, "data": hostile}, ensure_ascii=False).replace(
        '"data"', '\t"data"'
    )
    result = wsctl("connect", echo.url, "--send", line, "--expect", "echoed")
    last = result.stdout.rstrip("\n").rpartition("\n")[2]
    assert json.loads(last)["data"] == hostile
    assert last.isprintable()


def test_raw_sends_and_prints_frames_as_they_are(echo, wsctl):
    result = wsctl("connect", echo.url, "--raw", "--send", "not json", "--expect", "error")
    assert result.returncode == 0
    assert envelopes(result.stdout)[-1]["data"]["code"] == "INVALID_MESSAGE"


def test_pings_are_answered_and_hidden_unless_asked_for(serving, wsctl):
    server = serving("--heartbeat-interval", "300ms", "--heartbeat-timeout", "2s")
    quiet = wsctl("connect", server.url, "--timeout", "2s")
    assert quiet.returncode == 0
    assert [envelope["type"] for envelope in envelopes(quiet.stdout)] == ["session_created"]
    shown = wsctl("connect", server.url, "--no-auto-pong")
    assert shown.returncode == 1
    assert [envelope["type"] for envelope in envelopes(shown.stdout)][1:3] == ["ping", "ping"]
    assert "4002 connection timeout" in shown.stderr


def test_ctrl_c_ends_with_130_without_a_word(echo, start_wsctl):
    client = start_wsctl("connect", echo.url)
    assert "connected as" in client.stderr.readline()
    client.send_signal(signal.SIGINT)
    _, rest = client.communicate(timeout=HANG_S)
    assert (client.returncode, rest) == (130, "")


def test_a_reader_that_has_enough_ends_it_with_0(echo, start_wsctl):
    client = start_wsctl("connect", echo.url, "--type", "echo", stdin=subprocess.PIPE)
    assert client.stdout.readline()
    client.stdout.close()
    for _ in range(3):
        client.stdin.write("x\n")
        client.stdin.flush()
    assert client.wait(HANG_S) == 0
    assert "Traceback" not in client.stderr.read()


def test_a_client_that_reconnects_finds_the_server_again_and_loses_no_line(serving, start_wsctl):
    first = serving()
    port = first.url.split(":")[2].split("/")[0]
    client = start_wsctl("connect", first.url, "--reconnect", "--expect", "message", stdin=subprocess.PIPE)
    assert "connected as" in client.stderr.readline()
    assert first.stop() == 0
    assert "1001 going away" in client.stderr.readline()
    client.stdin.write("after the restart\n")
    client.stdin.flush()
    serving("--port", port)
    lines, _ = client.communicate(timeout=HANG_S)
    assert client.returncode == 0
    assert json.loads(lines.splitlines()[-1])["data"] == "after the restart"


def test_a_token_that_expires_on_the_way_ends_with_4(echo, wsctl):
    result = wsctl("connect", echo.url, "--send", '{"type":"leave","data":4001}', "--linger", "30s")
    assert result.returncode == 4
    assert "AUTH_EXPIRED" in result.stderr


def test_an_ascii_terminal_gets_escapes_instead_of_an_error(echo, wsctl):
    result = wsctl(
        "connect", echo.url, "--type", "echo", "--expect", "echoed", stdin="zo\u00eb\n", PYTHONIOENCODING="ascii"
    )
    assert result.returncode == 0
    assert "zo\\xeb" in result.stdout

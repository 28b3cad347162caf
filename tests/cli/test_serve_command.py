"""`wsctl serve` as a process: starting, refusing to start, and stopping."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest
import websocket

SECRET = "a secret for tests, 32 bytes or more"
HANG_S = 60


def test_a_message_from_one_client_is_seen_by_another_and_sigterm_ends_with_0(serving, wsctl, start_wsctl):
    server = serving()
    listener = start_wsctl("connect", server.url, "--session", "room", "--expect", "message")
    assert "session room" in listener.stderr.readline()
    sent = wsctl("connect", server.url, "--session", "room", stdin="hello there\n")
    assert sent.returncode == 0, sent.stderr
    lines, _ = listener.communicate(timeout=HANG_S)
    assert listener.returncode == 0
    assert json.loads(lines.splitlines()[-1])["data"] == "hello there"
    assert server.stop() == 0
    assert '"event": "server.stopped"' in server.lines[-1]


def test_a_client_sees_1001_and_a_clear_line_when_the_server_stops(serving, start_wsctl):
    server = serving()
    client = start_wsctl("connect", server.url)
    assert "connected as guest_" in client.stderr.readline()
    assert server.stop() == 0
    _, rest = client.communicate(timeout=HANG_S)
    assert "1001 going away (Server shutting down)" in rest
    assert client.returncode == 1


def test_ctrl_c_stops_gracefully_and_a_second_one_at_once(serving, guest_token):
    server = serving("--drain-timeout", "1h")
    token = guest_token()
    stubborn = websocket.create_connection(f"{server.url}?token={token}", timeout=HANG_S)
    stubborn.recv()  # the greeting; the close frame to come will not be answered
    server.wait_for("connection.opened")
    server.process.send_signal(signal.SIGINT)
    server.wait_for("server.draining")
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(HANG_S) == 130
    stubborn.sock.close()


def test_a_port_in_use_is_one_line_and_exit_1(wsctl):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = wsctl("serve", "--port", str(port))
    assert result.returncode == 1
    assert result.stderr == (
        f"wsctl: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "choose another --port or --host, or stop what uses it\n"
    )


def test_a_host_that_is_not_known_is_told_in_words(wsctl):
    result = wsctl("serve", "--guests", "unsigned", "--host", "fe80::1%nosuch")  # which no name server is asked for
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("wsctl: cannot listen on fe80::1%nosuch:8765: Name or service not known")


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ([], {"WSCTL_JWT_SECRET": "short"}, "JWT secret: 5 bytes are too short for HS256"),
        (["--host", "0.0.0.0"], {}, "nobody could connect"),
        (["--guests", "signed"], {}, "--guests signed: needs a secret"),
        (["--jwt-secret-file", "missing"], {}, "--jwt-secret-file: missing: No such file"),
        (["--jwt-algorithm", "none"], {"WSCTL_JWT_SECRET": SECRET}, "'none' is not supported"),
        (["--jwt-algorithm", "RS256"], {"WSCTL_JWT_SECRET": SECRET}, "RS256 needs a key"),
        (["--tls-cert", "c.pem"], {}, "a certificate needs its key"),
        (["--tls-cert", "c.pem", "--tls-key", "k.pem"], {}, "--tls-cert: c.pem: No such file or directory"),
        (["--path", "x"], {}, "'x' is not a path"),
        (["--port", "70000"], {}, "--port"),
        (["--origin", "example.com"], {}, "is not an origin"),
        (["--allowed-host", "https://a.example"], {}, "--allowed-host: 'https://a.example' is not a host name"),
        (
            ["--trusted-proxy", "10.1.2.3/8"],
            {},
            "is not a network; did you mean 10.0.0.0/8?",
        ),
        (["--forwarded-host"], {}, "--forwarded-host: nobody is trusted to write it; add --trusted-proxy"),
        (["--heartbeat-timeout", "10s"], {}, "must be longer than --heartbeat-interval"),
        (["--heartbeat-interval", "5"], {}, "such as 500ms or 25s"),
        (["--max-message-size", "5 apples"], {}, "such as 64KiB"),
        (["--max-message-size", "5B"], {}, "leaves no room"),
        (["--engine", "picows", "--compression"], {}, "use --engine websockets or auto"),
        (["--engine", "picows", "--uds", "x", "--guests", "unsigned"], {}, "use --engine websockets or auto"),
        (["--uds-mode", "rw-rw----"], {}, "three octal digits"),
        (["--uds-mode", "0888"], {}, "such as 0660"),
        (["--prt", "1"], {}, "No such option: --prt"),
        (["nomodule:app"], {}, "there is no module 'nomodule'"),
        (["json:app"], {}, "json has no 'app'"),
        (["json:dumps"], {}, "json:dumps is not an App"),
        (["json"], {}, "'json' is not MODULE:NAME"),
        (["--config", "missing.toml"], {}, "missing.toml: No such file"),
        ([], {"WSCTL_PORT": "x"}, "WSCTL_PORT"),
    ],
)
def test_a_bad_setting_is_one_clear_line_and_exit_2(wsctl, arguments, variables, expected):
    result = wsctl("serve", *arguments, **variables)
    assert result.returncode == 2
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    "source", ["raise RuntimeError('kaputt')", "def :", "from wsserver import App; App().on('ping')"]
)
def test_an_app_that_fails_to_import_is_one_line_with_its_place(wsctl, tmp_path, source):
    (tmp_path / "broken_app.py").write_text(f"\n{source}\n")
    result = wsctl("serve", "broken_app:app")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "line 2" in result.stderr or "belongs to the server" in result.stderr


def test_the_collector_works_in_a_server_but_not_over_its_modules(serving, wsctl, tmp_path):
    (tmp_path / "garbage.py").write_text(
        "import gc\n"
        "from wsserver import App, Context\n"
        "app = App()\n"
        "@app.on('ask')\n"
        "async def ask(ctx: Context, data: str) -> None:\n"
        "    ctx.reply('told', [gc.isenabled(), gc.get_freeze_count(), len(gc.get_objects())])\n"
    )
    server = serving("garbage:app")
    result = wsctl("connect", server.url, "--send", '{"type":"ask","data":""}', "--expect", "told")
    is_enabled, frozen, looked_at = json.loads(result.stdout.splitlines()[-1])["data"]
    assert is_enabled
    assert frozen > 100 * looked_at


def test_an_app_serves_its_handlers(serving, wsctl, tmp_path):
    (tmp_path / "shout.py").write_text(
        "from wsserver import App, Context\n"
        "app = App()\n"
        "@app.on('shout')\n"
        "async def shout(ctx: Context, data: str) -> None:\n"
        "    ctx.reply('shouted', data.upper())\n"
    )
    server = serving("shout:app")
    result = wsctl("connect", server.url, "--send", '{"type":"shout","data":"hey"}', "--expect", "shouted")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["data"] == "HEY"


def test_a_unix_socket_is_served_and_connected_to(serving, wsctl, tmp_path):
    server = serving("--uds", "wsctl.sock", "--uds-mode", "0660", "--guests", "unsigned")
    assert server.url == "wsctl.sock"
    assert stat.S_IMODE((tmp_path / "wsctl.sock").stat().st_mode) == 0o660
    result = wsctl("connect", "--uds", "wsctl.sock", "--send", "x", "--expect", "message")
    assert result.returncode == 0, result.stderr


def test_tls_is_served_and_checked(serving, wsctl, make_certificate, engine):
    made = make_certificate("127.0.0.1")
    server = serving("--engine", engine, "--tls-cert", str(made.cert), "--tls-key", str(made.key))
    assert server.url.startswith("wss://127.0.0.1:")
    trusted = wsctl("connect", server.url, "--ca", str(made.cert), "--send", "x", "--expect", "message")
    assert trusted.returncode == 0, trusted.stderr
    refused = wsctl("connect", server.url)
    assert refused.returncode == 3
    assert "TLS: CERTIFICATE_VERIFY_FAILED" in refused.stderr
    assert wsctl("connect", server.url, "--insecure", "--count", "1").returncode == 0


def test_start_up_tells_the_profile_its_choices_and_the_line_to_paste(start_wsctl):
    for arguments, expected in (
        (
            ["--port", "0"],
            (
                *("profile dev: guests unsigned", "session join open", "no rate limit", "connect ws://127.0.0.1:"),
                'WARNING server.exposed profile=dev reason="a key for tokens is set"',
            ),
        ),
        (
            ["--port", "0", "--allowed-host", "a.example", "--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "::1"],
            ("hosts localhost, addresses, a.example", "client by x-forwarded-for from 10.0.0.0/8, ::1"),
        ),
        (
            ["--port", "0", "--proxy-protocol", "--trusted-proxy", "10.0.0.0/8"],
            ("through the proxy: what begins without its PROXY header is dropped",),
        ),
        (
            ["--port", "0", "--profile", "prod"],
            (
                "profile prod: guests signed",
                "JWT HS256",
                "join token",
                "100 messages/s (burst 200)",
                "in a terminal where WSCTL_JWT_SECRET is set as it is here",
            ),
        ),
    ):
        process = start_wsctl("serve", *arguments, WSCTL_JWT_SECRET=SECRET)
        text = ""
        while "Ctrl-C" not in text:
            line = process.stderr.readline()
            assert line, text
            text += line
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=HANG_S)
        assert process.returncode == 0
        for words in expected:
            assert words in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--profile", "prod"],
        ["--guests", "off"],
        ["--guests", "off", "--issuer", "an issuer", "--audience", "$HOME"],
        ["--guests", "off", "--uds", "a socket"],
        ["--guests", "off", "--jwt-secret-encoding", "hex"],
        ["--guests", "off", "--jwt-secret-encoding", "hex", "--issuer", "me"],
        ["--tls-cert", "cert.pem", "--tls-key", "key.pem"],
        ["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--host", "0.0.0.0", "--guests", "unsigned"],
    ],
)
@pytest.mark.parametrize("source", ["file", "environment"])
def test_the_line_to_paste_works_in_another_terminal(start_wsctl, clean_environment, tmp_path, arguments, source):
    written = SECRET.encode().hex() if "hex" in arguments else SECRET
    (tmp_path / "jwt secret").write_text(written + "\n")
    if "--tls-cert" in arguments:
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"
        command += " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem"
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    secret = {} if source == "file" else {"WSCTL_JWT_SECRET": written}
    if source == "file":
        arguments = [*arguments, "--jwt-secret-file", "jwt secret"]
    server = start_wsctl("serve", "--port", "0", *arguments, **secret)
    said = []
    while not said or "Ctrl-C" not in said[-1]:
        said.append(server.stderr.readline())
        assert said[-1], said
    (line,) = [text.partition(":")[2] for text in said if text.startswith("  connect:")]
    (elsewhere := tmp_path / "elsewhere").mkdir()
    pasted = subprocess.run(
        ["sh", "-c", f"{line.strip()} --count 1"],
        cwd=elsewhere,
        env=clean_environment | secret,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert pasted.returncode == 0, (line, pasted.stderr)
    is_told = any("WSCTL_JWT_SECRET is set as it is here" in text for text in said)
    assert is_told == (source == "environment" and bool({"prod", "off"} & set(arguments)))


def test_settings_come_from_flag_then_environment_then_file(serving, wsctl, tmp_path):
    config = tmp_path / "wsctl.toml"
    config.write_text('[serve]\npath = "/file/"\nmax-message-size = "2KiB"\norigin = ["https://a.example"]\n')
    assert serving().url.endswith("/file/")
    assert serving(WSCTL_PATH="/env/").url.endswith("/env/")
    assert serving("--path", "/flag/", WSCTL_PATH="/env/").url.endswith("/flag/")
    config.write_text("[serve]\npaht = '/x/'\n")
    result = wsctl("serve")
    assert (result.returncode, result.stderr) == (
        2,
        "wsctl: wsctl.toml: [serve] paht: there is no such option; did you mean 'path'?\n",
    )
    config.write_text("[serve\n")
    assert "not valid TOML" in wsctl("serve").stderr


def test_no_token_or_secret_appears_in_log_or_process_list(serving, wsctl, user_token, guest_token):
    server = serving("--log-level", "debug", afresh=True, WSCTL_JWT_SECRET=SECRET)
    tokens = [user_token(), guest_token(), "guest_canary", "canary.canary.canary"]
    for token in tokens:
        wsctl("connect", f"{server.url}?token={token}", "--count", "1")
        wsctl("connect", server.url, "--count", "1", "-H", f"Authorization: Bearer {token}")
    cmdline = Path(f"/proc/{server.process.pid}/cmdline").read_text()
    assert server.stop() == 0
    log = "".join(server.lines)
    assert log.count("connection.opened") >= 4
    for secret in [*tokens, SECRET]:
        assert secret not in log
        assert secret not in cmdline


def test_what_a_trusted_proxy_says_counts_by_the_header_that_was_chosen(serving, wsctl):
    server = serving(
        *("--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "127.0.0.1", "--forwarded-header", "forwarded"),
        *("--forwarded-host", "--allowed-host", "app.example"),
    )
    forwarded = "Forwarded: for=203.0.113.9, for=192.0.2.1;host=app.example;proto=https"
    headers = ["-H", forwarded, "-H", "X-Forwarded-For: 198.51.100.1", "--origin", "https://app.example"]
    result = wsctl("connect", server.url, *headers, "--send", "x", "--expect", "message")
    assert result.returncode == 0, result.stderr
    opened = server.wait_for("connection.opened")
    assert (opened["peer"], opened["via"]) == ("192.0.2.1", "127.0.0.1")


@pytest.mark.parametrize("flag", ["--max-connections", "--max-connections-per-ip", "--max-connections-per-user"])
def test_a_connection_limit_given_as_a_flag_is_kept(serving, wsctl, start_wsctl, guest_token, flag):
    server, token = serving(flag, "1"), guest_token()
    first = start_wsctl("connect", server.url, WSCTL_TOKEN=token)
    assert "connected as" in first.stderr.readline()
    second = wsctl("connect", server.url, "--no-reconnect", WSCTL_TOKEN=token)
    assert second.returncode == 1
    assert "1013 try again later" in second.stderr


@pytest.mark.parametrize("limit", [["--rate-limit", "1"], ["--byte-rate-limit", "100B"]])
def test_a_rate_limit_given_as_a_flag_is_kept(serving, wsctl, limit):
    server = serving(*limit)
    result = wsctl("connect", server.url, "--expect", "error", "--timeout", "30s", stdin="x\n" * 20)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["data"]["code"] == "RATE_LIMITED"


@pytest.mark.parametrize(
    ("statement", "code", "said"),
    [
        ("raise SystemExit", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit('the licence has expired')", 1, "wsctl: the licence has expired\n"),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_an_exit_in_a_handler_ends_the_server_in_order_and_gives_its_code(
    serving, guest_token, tmp_path, statement, code, said
):
    (tmp_path / "leaving.py").write_text(
        f"import sys\nfrom wsserver import App, Context\napp = App()\n"
        f"@app.on('leave')\nasync def leave(ctx: Context) -> None:\n    {statement}\n"
    )
    server = serving("leaving:app")
    neighbour = websocket.create_connection(f"{server.url}?token={guest_token()}", timeout=HANG_S)
    client = websocket.create_connection(f"{server.url}?token={guest_token()}", timeout=HANG_S)
    for _ in range(2):  # twice: the second is no wish to end at once
        client.send('{"type":"leave","timestamp":1,"id":"x"}')
    answers = [json.loads(client.recv()) for _ in range(2)]
    assert (answers[1]["id"], answers[1]["data"]["code"]) == ("x", "PROCESSING_ERROR")
    assert [json.loads(neighbour.recv())["type"] for _ in range(2)] == ["session_created", "disconnect"]
    opcode, frame = neighbour.recv_data()
    assert (opcode, int.from_bytes(frame[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1001)
    assert server.process.wait(HANG_S) == code
    assert server.process.stderr is not None
    log = server.process.stderr.read()
    assert log.endswith(said)
    assert '"event": "server.exiting"' in log
    assert "Traceback" not in "".join(line for line in log.splitlines() if not line.startswith("{"))
    for peer in (neighbour, client):
        peer.sock.close()

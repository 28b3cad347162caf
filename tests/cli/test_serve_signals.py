"""The end of `wsctl serve`: signals work from the start on, it takes no longer than its time, and its code is true."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import websocket

HANG_S = 60
DRAIN_S = 1.0
# What a loaded machine may add to the second that is promised: a hang is a matter of minutes.
MARGIN_S = 15.0

# Each of these apps has code that does not end when it should, and tells by a file when it is at it.
STUBBORN = {
    "handler that swallows cancellation": """
@app.on("go")
async def go(ctx):
    at_it()
    while True:
        try:
            await asyncio.sleep(3600)
        except BaseException:
            pass
""",
    "handler that blocks the event loop": """
@app.on("go")
def go(ctx):
    at_it()
    while True:
        time.sleep(0.05)
""",
    "task that swallows cancellation": """
@app.on("go")
async def go(ctx):
    async def forever():
        at_it()
        while True:
            try:
                await asyncio.sleep(3600)
            except BaseException:
                pass
    ctx.hub.spawn(forever())
""",
    "lifespan that swallows cancellation at its end": """
@app.lifespan
async def running(hub):
    yield
    while True:
        try:
            await asyncio.sleep(3600)
        except BaseException:
            pass

@app.on("go")
def go(ctx):
    at_it()
""",
    "lifespan that hangs at its end": """
@app.lifespan
async def running(hub):
    yield
    await asyncio.sleep(3600)

@app.on("go")
def go(ctx):
    at_it()
""",
    "thread of the executor": """
@app.on("go")
async def go(ctx):
    await asyncio.to_thread(blocked)
""",
    "thread of its own": """
@app.on("go")
def go(ctx):
    threading.Thread(target=blocked, name="mine").start()
""",
}
# How the end is told: by the line that names what was left, or by a thread that finds the process still there.
LEFT = {
    "handler that swallows cancellation": "1 handler",
    "handler that blocks the event loop": "MainThread: go (",
    "task that swallows cancellation": "the task go.<locals>.forever",
    "lifespan that swallows cancellation at its end": "the lifespan stubborn.running",
    "lifespan that hangs at its end": "did not end in time, and was cancelled (in stubborn.running)",
    "thread of the executor": "blocked (",
    "thread of its own": "mine: blocked (",
}
HEAD = """
import asyncio, pathlib, threading, time
from wsserver import App

app = App()

def at_it():
    pathlib.Path("at-it").touch()

def blocked():
    at_it()
    while True:
        time.sleep(0.05)
"""

STARTING = {
    "waits": "await asyncio.sleep(3600)",
    "swallows": """
    while True:
        try:
            await asyncio.sleep(3600)
        except BaseException:
            pass""",
    "blocks": """
    while True:
        time.sleep(0.05)""",
}


def wait_for_file(path: Path, process: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + HANG_S
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def go(url: str, token: str) -> websocket.WebSocket:
    ws = websocket.create_connection(f"{url}?token={token}", timeout=HANG_S)
    ws.recv()
    ws.send('{"type":"go","timestamp":1}')
    return ws


@pytest.mark.parametrize("kind", STUBBORN)
def test_sigterm_ends_it_in_time_whatever_the_app_does_and_the_code_says_what_was_left(
    serving, guest_token, tmp_path, kind
):
    (tmp_path / "stubborn.py").write_text(HEAD + STUBBORN[kind])
    server = serving("stubborn:app", "--drain-timeout", f"{DRAIN_S}s")
    ws = go(server.url, guest_token())
    wait_for_file(tmp_path / "at-it", server.process)
    began_s = time.monotonic()
    assert server.stop() == 1
    assert time.monotonic() - began_s < DRAIN_S + 1 + MARGIN_S
    assert LEFT[kind] in "".join(server.lines)
    ws.shutdown()


@pytest.mark.parametrize("kind", ["handler that swallows cancellation", "handler that blocks the event loop"])
def test_a_second_signal_ends_it_at_once_whatever_the_app_does(serving, guest_token, tmp_path, kind):
    (tmp_path / "stubborn.py").write_text(HEAD + STUBBORN[kind])
    server = serving("stubborn:app", "--drain-timeout", "1h")
    ws = go(server.url, guest_token())
    wait_for_file(tmp_path / "at-it", server.process)
    server.process.send_signal(signal.SIGTERM)
    if "blocks" not in kind:  # then the loop gets to say so
        server.wait_for("server.draining")
    server.process.send_signal(signal.SIGINT)
    assert server.stop() == 130
    ws.shutdown()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.slow), signal.SIGTERM])
@pytest.mark.parametrize("kind", STARTING)
def test_a_signal_while_it_starts_ends_it_with_130(start_wsctl, tmp_path, kind, number):
    body = f"\n@app.lifespan\nasync def running(hub):\n    at_it()\n    {STARTING[kind]}\n    yield\n"
    (tmp_path / "starting.py").write_text(HEAD + body)
    process = start_wsctl("serve", "--port", "0", "--drain-timeout", f"{DRAIN_S}s", "starting:app")
    wait_for_file(tmp_path / "at-it", process)
    began_s = time.monotonic()
    process.send_signal(number)
    _, words = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert time.monotonic() - began_s < DRAIN_S + 1 + MARGIN_S
    assert "wsctl serves" not in words
    assert "Traceback" not in words


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_an_app_is_imported_ends_it_at_once_with_130(start_wsctl, tmp_path, number):
    (tmp_path / "starting.py").write_text(HEAD + "\nblocked()\n")
    process = start_wsctl("serve", "--port", "0", "--drain-timeout", "1h", "starting:app")
    wait_for_file(tmp_path / "at-it", process)
    process.send_signal(number)
    _, words = process.communicate(timeout=HANG_S)
    assert (process.returncode, words) == (130, "")


def test_what_a_lifespan_set_up_is_taken_down_when_a_later_one_is_interrupted(start_wsctl, tmp_path):
    (tmp_path / "starting.py").write_text(
        HEAD
        + """
@app.lifespan
async def first(hub):
    yield
    pathlib.Path("taken-down").touch()

@app.lifespan
async def second(hub):
    at_it()
    await asyncio.sleep(3600)
    yield
"""
    )
    process = start_wsctl("serve", "--port", "0", "starting:app")
    wait_for_file(tmp_path / "at-it", process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert (tmp_path / "taken-down").exists()


def test_a_silent_peer_costs_no_more_than_the_time_for_the_end(serving, guest_token, engine):
    server = serving("--engine", engine, "--drain-timeout", f"{DRAIN_S}s")
    silent = websocket.create_connection(f"{server.url}?token={guest_token()}", timeout=HANG_S)
    silent.recv()
    began_s = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began_s < DRAIN_S + 1 + MARGIN_S
    assert json.loads(server.lines[-1])["dropped"] == 1
    silent.shutdown()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_idle_server_hears_a_signal_and_says_goodbye(clean_environment, guest_token, tmp_path, loop, number):
    code = "from cli.main import main; main()"
    if loop == "asyncio":
        code = f"import sys; sys.modules['uvloop'] = None; {code}"
    command = [sys.executable, "-c", code, "serve", "--port", "0", "--log-format", "json"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=clean_environment)
    url = json.loads(process.stderr.readline())["url"]
    ws = websocket.create_connection(f"{url}?token={guest_token()}", timeout=HANG_S)
    ws.recv()
    process.send_signal(number)
    assert json.loads(ws.recv())["type"] == "disconnect"
    opcode, payload = ws.recv_data()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1001)
    process.communicate(timeout=HANG_S)
    assert process.returncode == 0
    ws.shutdown()


def test_sigusr1_and_sigusr2_end_nothing_and_are_logged(serving, guest_token):
    server = serving()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        server.process.send_signal(number)
        event = server.wait_for("server.signal_ignored")
        assert (event["signal"], event["level"]) == (number.name, "warning")
    go(server.url, guest_token()).shutdown()
    assert server.stop() == 0


def test_a_sighup_that_nohup_ignores_stays_ignored(clean_environment, guest_token, tmp_path):
    command = [sys.executable, "-m", "cli.main", "serve", "--port", "0", "--log-format", "json"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=clean_environment,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    url = json.loads(process.stderr.readline())["url"]
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGUSR1)
    assert json.loads(process.stderr.readline())["event"] == "server.signal_ignored"
    go(url, guest_token()).shutdown()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=HANG_S)
    assert process.returncode == 0

"""`--room`: what comes by a room is seen, what was missed comes once, and a refusal is no success."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading

import pytest
from websockets.sync.server import serve

from tests.relay import Relay

HANG_S = 60
APP = """
import asyncio
from wsserver import App, Context
app = App()

@app.on("message")
def message(ctx: Context, text: str) -> None:
    ctx.publish("message", text)

@app.on_join("*")
async def slow(ctx: Context, room: str) -> bool:
    await asyncio.sleep(0.7)  # longer than a silence that ends the client
    return room != "attic"
"""
HELLO = '{"type":"message","room":"lobby","data":"hello"}\n'


def envelopes(stdout: str) -> list[dict]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_two_who_join_a_room_hear_what_a_line_says_there_and_others_do_not(serving, wsctl, start_wsctl):
    url = serving().url
    rooms = ("--room", "lobby", "--room", "hall")
    listener = start_wsctl("connect", url, "--session", "a", *rooms, "--until", "type:message")
    joined = [json.loads(listener.stdout.readline()) for _ in range(3)]
    assert sorted(line["data"].get("room", "") for line in joined) == ["", "hall", "lobby"]
    stranger = start_wsctl("connect", url, "--session", "b", "--until", "type:message", stdin=subprocess.PIPE)
    assert json.loads(stranger.stdout.readline())["type"] == "session_created"
    speaker = wsctl("connect", url, "--session", "c", "--room", "lobby", stdin=HELLO)
    assert speaker.returncode == 0, speaker.stderr
    assert [line.get("room") for line in envelopes(speaker.stdout) if line["type"] == "message"] == ["lobby"]
    stdout, stderr = listener.communicate(timeout=HANG_S)
    assert listener.returncode == 0, stderr
    (heard,) = envelopes(stdout)
    assert (heard["room"], heard["data"]) == ("lobby", "hello")
    stdout, stderr = stranger.communicate("mine\n", timeout=HANG_S)
    assert stranger.returncode == 0, stderr
    assert [line["data"] for line in envelopes(stdout)] == ["mine"]


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["--count", "1"],
        *(pytest.param(m, marks=pytest.mark.slow) for m in (["--expect", "x"], ["--linger", "0ms"])),
    ],
)
def test_a_room_that_does_not_let_us_in_ends_with_4_and_is_named(serving, wsctl, tmp_path, more):
    (tmp_path / "house.py").write_text(APP)
    url = serving("house:app").url
    result = wsctl("connect", url, "--room", "hall", "--room", "attic", *more, stdin="x\n")
    assert result.returncode == 4, result.stderr
    (told,) = [line for line in result.stderr.splitlines() if "attic" in line]
    assert told.startswith("wsctl: the server did not let us into the room attic: FORBIDDEN")
    result = wsctl("connect", url, "--room", "lobby", stdin=HELLO)
    assert result.returncode == 0, result.stderr


def test_lines_go_to_a_room_that_is_named_once(serving, wsctl, tmp_path):
    (tmp_path / "echo.py").write_text(
        "from wsserver import App, Context\napp = App()\n"
        "@app.on('say')\ndef say(ctx: Context, data) -> None:\n    ctx.publish('said', [ctx.room, data])\n"
    )
    url = serving("echo:app").url
    lines = 'bare\n{"type":"say","data":1}\n{"type":"say","data":2,"room":"hall"}\n{"text":"object"}\n'
    options = ("--to", "lobby", "--room", "hall", "--type", "say", "--filter", "type:said")
    result = wsctl("connect", url, *options, "--send", "first", stdin=lines)
    assert result.returncode == 0, result.stderr
    said = {"lobby": ["first", "bare", 1, {"text": "object"}], "hall": [2]}  # there is no order between two rooms
    heard = [line["data"] for line in envelopes(result.stdout)]
    assert {room: [data for where, data in heard if where == room] for room, _ in heard} == said
    goal = wsctl("connect", url, *options, "--expect", "said", stdin="bare\n")
    assert [line["data"] for line in envelopes(goal.stdout)] == [["lobby", "bare"]]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--to", "a b"], "--to: 'a b' is no name of a room"),
        (["--to", "lobby", "--raw"], "--to: is for messages"),
        (["--to", "lobby", "--hex"], "--to: is for messages"),
    ],
)
def test_what_cannot_go_to_a_room_is_refused_at_once(wsctl, options, problem):
    result = wsctl("connect", "ws://127.0.0.1:9/", *options)
    assert (result.returncode, problem in result.stderr) == (2, True), result.stderr


def test_a_replay_joins_rooms_too(serving, wsctl, tmp_path):
    (tmp_path / "talk.jsonl").write_text(json.dumps({**json.loads(HELLO), "timestamp": 1, "sentAtMs": 1}) + "\n")
    url = serving().url
    result = wsctl("replay", "talk.jsonl", url, "--room", "lobby", "--filter", "type:message")
    assert result.returncode == 0, result.stderr
    assert [line["room"] for line in envelopes(result.stdout)] == ["lobby"]
    outside = wsctl("replay", "talk.jsonl", url)
    assert outside.returncode == 1
    assert "message 1 did not go through: FORBIDDEN" in outside.stderr


def test_a_name_that_no_room_has_is_refused_at_once(wsctl):
    result = wsctl("connect", "ws://127.0.0.1:9/", "--room", "a b")
    assert result.returncode == 2
    assert "--room: 'a b' is no name of a room" in result.stderr


def test_a_server_of_another_make_has_no_rooms_and_that_is_no_success(wsctl):
    with serve(lambda connection: connection.send("welcome"), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        result = wsctl("connect", url, "--room", "lobby", "--count", "1")
        server.shutdown()
        thread.join(HANG_S)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        "wsctl: --room: no room was joined: the server did not greet as one of wsctl"
    )


GREETING = {
    **{"sessionId": "s", "userId": "u", "isGuest": True, "connectionId": "c"},
    **{"heartbeat": {"intervalMs": 25_000, "timeoutMs": 60_000}, "limits": {"maxMessageBytes": 65_536}},
}


@pytest.mark.parametrize("more", [["--timeout", "700ms"], ["--count", "1", "--timeout", "700ms"]])
@pytest.mark.parametrize("closes", [False, True])
def test_a_room_of_which_the_server_says_nothing_is_no_success(wsctl, more, closes):
    def greet_alone(connection):
        connection.send(json.dumps({"type": "session_created", "timestamp": 1, "data": GREETING}))
        connection.recv()
        if not closes:
            connection.recv()

    with serve(greet_alone, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/socket.io/"
        result = wsctl("connect", url, "--room", "lobby", *more)
        server.shutdown()
        thread.join(HANG_S)
    assert result.returncode == 1, result.stderr
    assert result.stderr.splitlines()[-1] == (
        "wsctl: not joined: the server did not say if it lets us into the room lobby"
    )


async def test_what_was_missed_while_the_way_was_cut_counts_once(start_server, wsctl_command, clean_environment):
    server = await start_server()
    async with Relay(server.url) as relay:
        client = await asyncio.create_subprocess_exec(
            *(*wsctl_command, "connect", relay.url, "--session", "s", "--room", "lobby", "--reconnect"),
            *("--filter", "type:note", "--until", '/"data":5/', "--count", "5"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment,
        )
        assert client.stdout is not None
        assert client.stderr is not None
        try:
            async with asyncio.timeout(HANG_S):
                while not await server.hub.members("lobby"):
                    await asyncio.sleep(0.01)
                for number in (1, 2):
                    server.hub.publish("note", number, room="lobby")
                seen = [json.loads(await client.stdout.readline())["data"] for _ in range(2)]
                await relay.cut()
                while b"reconnecting" not in (line := await client.stderr.readline()):
                    assert line
                for number in (3, 4):
                    server.hub.publish("note", number, room="lobby")
                relay.mend()
                seen += [json.loads(await client.stdout.readline())["data"] for _ in range(2)]
                server.hub.publish("note", 5, room="lobby")
                stdout, stderr = await client.communicate()
        finally:
            if client.returncode is None:
                client.kill()
                await client.wait()
        assert client.returncode == 0, stderr
        assert seen + [json.loads(line)["data"] for line in stdout.splitlines()] == [1, 2, 3, 4, 5]
        assert "room lobby: 2 missed messages came after all" in stderr.decode()

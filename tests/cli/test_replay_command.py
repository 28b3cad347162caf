"""What a recording survives on its way through the commands: kills, refusals, other people's lines."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

HANG_S = 60


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_client_that_is_killed_leaves_a_whole_recording(serving, start_wsctl, tmp_path, end):
    client = start_wsctl("connect", serving().url, "--record", "r.jsonl", stdin=subprocess.PIPE)
    client.stdin.write("hello\n")
    client.stdin.flush()
    printed = [json.loads(client.stdout.readline()) for _ in range(2)]
    client.send_signal(end)
    assert client.wait(HANG_S) == -end
    recorded = lines(tmp_path / "r.jsonl")
    assert [line for line in recorded if "receivedAtMs" in line] == printed
    assert [line["data"] for line in recorded if "sentAtMs" in line] == ["hello"]


def test_a_connection_that_failed_does_not_take_the_name_of_the_recording(serving, wsctl, tmp_path):
    server = serving()
    assert wsctl("connect", "ws://127.0.0.1:9/", "--record", "r.jsonl").returncode == 3
    done = wsctl("connect", server.url, "--record", "r.jsonl", "--count", "1")
    assert done.returncode == 0, done.stderr
    assert [line["type"] for line in lines(tmp_path / "r.jsonl") if "type" in line] == ["session_created"]


def test_answers_and_tokens_for_another_connection_are_not_sent_again(serving, wsctl, tmp_path):
    sent = [
        {"type": "pong", "timestamp": 1, "data": {"timestamp": 1}, "sentAtMs": 1},
        {"type": "auth_refresh", "timestamp": 1, "data": {"token": "eyJ.old.token"}, "sentAtMs": 2},
    ]
    (tmp_path / "talk.jsonl").write_text("".join(json.dumps(line) + "\n" for line in sent))
    done = wsctl("replay", "talk.jsonl")
    assert done.returncode == 2
    assert "has no message that was sent" in done.stderr
    with (tmp_path / "talk.jsonl").open("a") as file:
        file.write('{"text":"no envelope","sentAtMs":3}\n{"type":"message","timestamp":1,"data":1,"sentAtMs":4}\n')
    done = wsctl("replay", "talk.jsonl", serving().url, "--keep-timestamps", "--record", "again.jsonl")
    assert done.returncode == 0, done.stderr
    assert "2 messages in" in done.stderr
    again = lines(tmp_path / "again.jsonl")
    assert [line.get("text", line.get("timestamp")) for line in again if "sentAtMs" in line] == ["no envelope", 1]
    assert {"error", "message"} <= {line.get("type") for line in again if "receivedAtMs" in line}


def test_a_filter_chooses_what_a_replay_prints(serving, wsctl, tmp_path):
    (tmp_path / "talk.jsonl").write_text('{"type":"message","timestamp":1,"data":1,"sentAtMs":4}\n')
    done = wsctl("replay", "talk.jsonl", serving().url, "--filter", "type:message")
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == ["message"]
    assert wsctl("replay", "talk.jsonl", "--filter", "dir:up").returncode == 2


@pytest.mark.parametrize("speed", ["0", "nan", "2xx"])
def test_what_is_no_speed_is_named(wsctl, tmp_path, speed):
    (tmp_path / "talk.jsonl").write_text('{"type":"message","timestamp":1,"data":1,"sentAtMs":4}\n')
    done = wsctl("replay", "talk.jsonl", "--speed", speed)
    assert done.returncode == 2
    assert f"--speed: {speed!r} is not a speed; write 1, 10 or max" in done.stderr

"""Recordings from the command line: record, look through, filter, wait for, play back."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def recording(serving, wsctl, tmp_path):
    """A recording of two messages, one second apart."""
    lines = [
        {"type": "message", "timestamp": 1, "data": "one", "sentAtMs": 1000},
        {"type": "message", "timestamp": 1, "data": "one", "userId": "x", "receivedAtMs": 1001},
        {"type": "message", "timestamp": 1, "data": "two", "sentAtMs": 2000},
    ]
    path = tmp_path / "talk.jsonl"
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return path


def data(stdout: str) -> list[object]:
    return [line["data"] for line in map(json.loads, stdout.splitlines()) if line["type"] == "message"]


def test_what_is_printed_is_a_recording_that_can_be_looked_through(serving, wsctl, tmp_path):
    done = wsctl("connect", serving().url, "--send", "hello", "--record", "r.jsonl", "--expect", "message")
    assert done.returncode == 0, done.stderr
    recorded = (tmp_path / "r.jsonl").read_text().splitlines()
    assert set(done.stdout.splitlines()) <= set(recorded)
    assert [json.loads(line)["data"] for line in recorded if "sentAtMs" in line] == ["hello"]
    (tmp_path / "printed.jsonl").write_text(done.stdout)
    seen = wsctl("connect", "--open", "printed.jsonl", "--filter", "type:message")
    assert seen.returncode == 0, seen.stderr
    assert data(seen.stdout) == ["hello"]
    again = wsctl("connect", serving().url, "--record", "r.jsonl", "--count", "1")
    assert again.returncode == 2
    assert "r.jsonl: exists already" in again.stderr


def test_a_filter_chooses_what_is_printed_and_counted(serving, wsctl):
    lines = "apple\npear\napple pie\n"
    done = wsctl("connect", serving().url, "--filter", "type:message apple", "--count", "2", stdin=lines)
    assert done.returncode == 0, done.stderr
    assert data(done.stdout) == ["apple", "apple pie"]


def test_until_waits_for_what_matches(serving, wsctl):
    done = wsctl("connect", serving().url, "--until", '/"data":"b/', stdin="a\nb\nc\n")
    assert done.returncode == 0, done.stderr
    assert data(done.stdout) == ["a", "b"]
    late = wsctl("connect", serving().url, "--until", "never", "--timeout", "2s")
    assert late.returncode == 1
    assert "a message that matches never did not come" in late.stderr


@pytest.mark.parametrize("option", ["--filter", "--until"])
def test_a_bad_filter_ends_it_with_2_and_the_column(wsctl, option):
    done = wsctl("connect", option, "dir:up")
    assert done.returncode == 2
    assert f"{option}: filter, column 1: there is no direction 'up'" in done.stderr


def test_variables_are_filled_in_unless_told_not_to(serving, wsctl):
    server = serving()
    done = wsctl("connect", server.url, "--send", "n={{counter}}", "--expect", "message")
    assert data(done.stdout) == ["n=1"]
    done = wsctl("connect", server.url, "--send", "n={{counter}}", "--expect", "message", "--no-templates")
    assert data(done.stdout) == ["n={{counter}}"]
    done = wsctl("connect", server.url, "--send", "{{what}}", "--expect", "message")
    assert done.returncode == 2
    assert "{{what}}: is not known" in done.stderr
    done = wsctl("connect", server.url, "--templates", "--until", "good", stdin="{{what}}\ngood\n")
    assert done.returncode == 1
    assert "line 1 did not go through: line 1, column 1: {{what}}: is not known" in done.stderr


def test_a_recording_is_played_back_and_can_be_recorded_again(serving, wsctl, recording, tmp_path):
    done = wsctl("replay", str(recording), serving().url, "--speed", "max", "--record", "again.jsonl")
    assert done.returncode == 0, done.stderr
    assert data(done.stdout) == ["one", "two"]
    assert "2 messages in 0.0 s (recorded in 1.0 s)" in done.stderr
    sent = [line for line in (tmp_path / "again.jsonl").read_text().splitlines() if "sentAtMs" in line]
    assert [json.loads(line)["data"] for line in sent] == ["one", "two"]
    assert all(json.loads(line)["timestamp"] > 1 for line in sent)


def test_the_gaps_are_kept_and_scaled(serving, wsctl, recording):
    done = wsctl("replay", str(recording), serving().url, "--speed", "5x", "--keep-timestamps")
    assert done.returncode == 0, done.stderr
    times = [json.loads(line)["receivedAtMs"] for line in done.stdout.splitlines() if '"message"' in line]
    assert times[1] - times[0] >= 150


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense\n", "talk.jsonl:1: is not JSON"),
        ('{"type":"message","timestamp":1,"receivedAtMs":1}\n', "has no message that was sent"),
        ("", "has no message that was sent"),
    ],
)
def test_a_file_that_cannot_be_played_ends_it_with_2(wsctl, tmp_path, text, problem):
    (tmp_path / "talk.jsonl").write_text(text)
    done = wsctl("replay", "talk.jsonl")
    assert done.returncode == 2
    assert problem in done.stderr


def test_a_replay_without_a_server_ends_with_3(wsctl, recording):
    done = wsctl("replay", str(recording), "ws://127.0.0.1:9/")
    assert done.returncode == 3
    assert "connection refused" in done.stderr
    assert wsctl("replay", str(recording), "--speed", "fast").returncode == 2


def test_a_profile_says_where_to_go_and_who_to_be(serving, wsctl, tmp_path):
    secret = "a secret for tests, 32 bytes or more"
    server = serving(WSCTL_JWT_SECRET=secret)
    (tmp_path / "wsctl.toml").write_text(
        f'[profiles.here]\nurl = "{server.url}"\nsession = "lobby"\nsub = "alice"\n[keys]\nrecord = "ctrl+w"\n'
    )
    done = wsctl("connect", "--profile", "here", "--expect", "session_created", WSCTL_JWT_SECRET=secret)
    assert done.returncode == 0, done.stderr
    assert "connected as alice, session lobby" in done.stderr
    done = wsctl("connect", "--profile", "there", "--expect", "session_created")
    assert done.returncode == 2
    assert "there is no 'there'; there are here" in done.stderr
    (tmp_path / "wsctl.toml").write_text('[profiles.here]\nurl = "ws://x"\ncolour = "red"\n')
    done = wsctl("connect", "--profile", "here")
    assert done.returncode == 2
    assert "[profiles.here] colour: there is no such field" in done.stderr

"""Every line of a pipe goes through, or the exit code and a line on standard error say which one did not and why."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

HANG_S = 60

APP = """
import asyncio
from wscore.codes import ErrorCode
from wsserver import App, Context
app = App()
seen = set()

@app.on("say")
async def say(ctx: Context, text: str) -> None:
    if text == "late":
        await asyncio.sleep(0.3)
    if text in ("forbidden", "late"):
        ctx.error(ErrorCode.FORBIDDEN, "Not you.")
    elif text == "broken":
        raise RuntimeError
    elif text == "later" and ctx.request_id not in seen:
        seen.add(ctx.request_id)
        ctx.error(ErrorCode.RATE_LIMITED, "Too many of these.")
    elif text == "end":
        ctx.close(1011, "as told")
    else:
        ctx.publish("said", text)

@app.on("count")
def count(ctx: Context, text: str) -> None:
    ctx.reply("counted", text)
"""


@pytest.fixture
def app(serving, tmp_path: Path):
    (tmp_path / "fussy.py").write_text(APP)
    return serving("fussy:app")


def data_of(stdout: str, type: str = "message") -> list[object]:
    return [message["data"] for message in map(json.loads, stdout.splitlines()) if message["type"] == type]


def text_of(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_more_lines_than_the_server_allows_a_second_all_arrive_in_order(serving, wsctl):
    lines = [str(number) for number in range(300)]
    result = wsctl("connect", serving("--rate-limit", "100").url, stdin=text_of(lines))
    assert result.returncode == 0, result.stderr
    assert data_of(result.stdout) == lines
    assert "RATE_LIMITED" not in result.stdout


def test_bytes_a_second_are_kept_to_as_well(serving, wsctl):
    lines = [f"{number}-{'x' * 1000}" for number in range(60)]
    result = wsctl("connect", serving("--byte-rate-limit", "20KiB").url, stdin=text_of(lines))
    assert result.returncode == 0, result.stderr
    assert data_of(result.stdout) == lines


def test_a_fast_pipe_is_not_closed_for_its_own_echoes(serving, wsctl):
    lines = [f"{number}-{'x' * 2000}" for number in range(4000)]
    result = wsctl("connect", serving().url, stdin=text_of(lines))
    assert result.returncode == 0, result.stderr
    assert data_of(result.stdout) == lines


def test_whoever_reads_the_output_slowly_holds_the_input_back_and_not_the_connection(serving, wsctl, start_wsctl):
    server = serving("--heartbeat-interval", "300ms", "--heartbeat-timeout", "2s")
    client = start_wsctl("connect", server.url, stdin=subprocess.PIPE)
    lines = [f"{number}-{'x' * 2000}" for number in range(2000)]
    feeding = threading.Thread(target=lambda: (client.stdin.write(text_of(lines)), client.stdin.close()))
    feeding.start()
    wait_until_full(client)
    # Longer than the server waits for a sign of life: the client goes on reading, and answers its pings.
    assert wsctl("connect", server.url, "--timeout", "3s").returncode == 0
    assert feeding.is_alive()
    printed = client.stdout.read()
    assert client.wait(HANG_S) == 0
    feeding.join(HANG_S)
    assert data_of(printed) == lines


def test_what_others_say_waits_for_the_reader_up_to_a_bound_and_then_the_server_has_to_wait(
    serving, wsctl, start_wsctl
):
    server = serving()
    client = start_wsctl("connect", server.url, "--session", "room")
    assert "session room" in client.stderr.readline()
    lines = [f"{number}-{'x' * 500_000}" for number in range(50)]
    # At a rate that the client keeps up with.
    sent = wsctl("connect", server.url, "--session", "room", "--rate", "20", stdin=text_of(lines))
    assert sent.returncode == 0, sent.stderr
    assert client.stderr.readline() == "standard output is not read: 16MiB wait, so the server has to wait\n"
    # Where it ends depends on how much the kernel keeps beside: with the last one, or with 4003 before it.
    printed = []
    while len(printed) < len(lines) and (line := client.stdout.readline()):
        printed += data_of(line)
    assert printed == lines[: len(printed)]
    assert len(printed) >= 33
    server.stop()
    assert client.wait(HANG_S) == 1


def wait_until_full(client: subprocess.Popen[str]) -> None:
    """Wait until nothing more finds room in the pipe that a client writes to."""
    pipe = os.open(f"/proc/{client.pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK)
    until_s = time.monotonic() + HANG_S
    try:
        while select.select([], [pipe], [], 0)[1]:
            assert client.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.01)
    finally:
        os.close(pipe)


def test_a_line_that_is_refused_for_good_ends_with_1_and_is_named(app, wsctl):
    result = wsctl("connect", app.url, "--type", "say", stdin="a\nforbidden\nb\n")
    assert result.returncode == 1
    assert "line 2 did not go through: FORBIDDEN: Not you." in result.stderr
    assert data_of(result.stdout, "said") == ["a", "b"]


def test_what_may_be_tried_again_is_tried_again(app, wsctl):
    result = wsctl("connect", app.url, "--type", "say", stdin="a\nlater\nb\n")
    assert result.returncode == 0, result.stderr
    assert sorted(data_of(result.stdout, "said")) == ["a", "b", "later"]


def test_a_handler_that_goes_on_failing_is_not_asked_for_ever(app, wsctl):
    result = wsctl("connect", app.url, "--type", "say", stdin="\nbroken\n")
    assert result.returncode == 1
    assert "line 2 did not go through: PROCESSING_ERROR" in result.stderr.splitlines()[-1]
    assert len(data_of(result.stdout, "error")) == 3


def test_what_cannot_be_sent_is_named_with_its_line_and_the_rest_goes_through(serving, wsctl):
    lines = ['{"type":"message","data":{"a":1}', '{"type":"a b"}', "x" * 2000, "good", '{"a":NaN}']
    result = wsctl("connect", serving("--max-message-size", "1KiB").url, stdin=text_of(lines))
    assert result.returncode == 1
    *told, end = result.stderr.splitlines()
    first, second, third, fifth = sorted(told[-4:])
    assert first.startswith(
        "line 1 did not go through: it begins like a JSON object and is none: Input data was truncated"
    )
    assert second.startswith("line 2 did not go through: Expected 1 to 64 of")
    assert "line 3 did not go through: it has 2,0" in third
    assert "and the server takes 1,024 at most" in third
    assert fifth.startswith("line 5 did not go through: it begins like a JSON object and is none: JSON is malformed: ")
    assert end.startswith("wsctl: 4 of 5 lines did not go through; the first is line 1: ")
    assert data_of(result.stdout) == ["good"]


def test_a_connection_lost_in_mid_stream_tells_what_was_not_confirmed(app, wsctl):
    result = wsctl("connect", app.url, "--type", "say", stdin="a\nb\nend\n" + "c\n" * 200)
    assert result.returncode == 1
    *_, lost, end = result.stderr.splitlines()
    assert "lines did not go through; the first is line " in lost
    assert "the connection ended before the server confirmed it" in lost
    assert end.startswith("wsctl: connection closed: 1011 internal error (as told)")


def test_a_line_whose_fate_nobody_knows_is_not_sent_twice_over_a_reconnect(app, start_wsctl):
    client = start_wsctl("connect", app.url, "--type", "say", "--reconnect", stdin=subprocess.PIPE)
    assert "connected as" in client.stderr.readline()
    client.stdin.write("end\n")
    client.stdin.flush()
    while "connected as" not in (line := client.stderr.readline()):
        assert line
    stdout, stderr = client.communicate("after\n", timeout=HANG_S)
    assert client.returncode == 1
    assert data_of(stdout, "said") == ["after"]
    assert "wsctl: line 1 did not go through: the connection ended before the server confirmed it" in stderr


def test_a_pipe_has_no_templates_unless_it_asks_for_them(serving, wsctl):
    server = serving()
    assert data_of(wsctl("connect", server.url, stdin="Dear {{name}}\n").stdout) == ["Dear {{name}}"]
    assert data_of(wsctl("connect", server.url, "--templates", stdin="{{counter}}\n").stdout) == ["1"]


def test_a_rate_is_kept(serving, wsctl):
    result = wsctl("connect", serving().url, "--rate", "20", stdin="x\n" * 11)
    assert result.returncode == 0, result.stderr
    at_ms = [
        message["receivedAtMs"]
        for message in map(json.loads, result.stdout.splitlines())
        if message["type"] == "message"
    ]
    assert len(at_ms) == 11
    assert at_ms[-1] - at_ms[0] >= 450


def test_time_that_is_over_before_every_line_was_sent_ends_with_1(serving, wsctl):
    result = wsctl("connect", serving().url, "--rate", "2", "--timeout", "3s", stdin="x\n" * 10)
    assert result.returncode == 1
    assert "lines did not go through; the first is line" in result.stderr
    assert "it was not sent" in result.stderr


def test_an_error_that_answers_what_was_sent_ends_the_waiting_for_anything_else(app, wsctl):
    sends = ["--send", '{"type":"say","data":"forbidden"}', "--send", '{"type":"say","data":"never"}']
    result = wsctl("connect", app.url, *sends, "--expect", "missing")
    assert result.returncode == 1
    end = "wsctl: missing did not come: --send number 1 did not go through: FORBIDDEN: Not you."
    assert result.stderr.splitlines()[-1] == end
    waited = wsctl("connect", app.url, *sends[:2], "--expect", "error")
    assert waited.returncode == 0, waited.stderr


def test_an_error_that_answers_a_line_ends_the_waiting_at_the_end_of_the_input(app, wsctl):
    result = wsctl("connect", app.url, "--type", "say", "--expect", "never", stdin="a\nforbidden\n")
    assert result.returncode == 1
    assert "never did not come: line 2 did not go through: FORBIDDEN: Not you." in result.stderr


def test_neither_the_ids_nor_the_fences_are_seen(app, wsctl, tmp_path):
    own = '{"type":"count","id":"mine","data":"b"}'
    result = wsctl("connect", app.url, "--type", "count", "--record", "r.jsonl", stdin=f"a\n{own}\n")
    assert result.returncode == 0, result.stderr
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(message["type"], message.get("id")) for message in printed[1:]] == [("counted", None), ("counted", "mine")]
    written = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    recorded = [line for line in written if "event" not in line]
    assert [message["type"] for message in recorded] == ["session_created", "count", "count", "counted", "counted"]
    assert recorded[1]["id"] == recorded[3]["id"]


@pytest.mark.parametrize("raw", [["--raw"], []])
def test_a_recording_and_raw_frames_are_paced_too(serving, wsctl, tmp_path, raw):
    frames = [{"type": "message", "timestamp": 1, "data": number} for number in range(60)]
    url = serving("--rate-limit", "20").url
    if raw:
        result = wsctl("connect", url, *raw, stdin=text_of([json.dumps(frame) for frame in frames]))
    else:
        (tmp_path / "r.jsonl").write_text(text_of([json.dumps(frame | {"sentAtMs": 1}) for frame in frames]))
        result = wsctl("replay", "r.jsonl", url, "--speed", "max")
    assert result.returncode == 0, result.stderr
    assert data_of(result.stdout) == list(range(60))


def test_a_raw_frame_that_is_no_envelope_is_named(serving, wsctl):
    result = wsctl("connect", serving().url, "--raw", stdin="not json\n")
    assert result.returncode == 1
    assert "line 1 did not go through: INVALID_MESSAGE" in result.stderr


def test_a_replay_names_the_message_that_did_not_go_through(app, wsctl, tmp_path):
    frames = [{"type": "say", "timestamp": 1, "data": text, "sentAtMs": 1} for text in ("a", "forbidden")]
    (tmp_path / "r.jsonl").write_text(text_of([json.dumps(frame) for frame in frames]))
    result = wsctl("replay", "r.jsonl", app.url)
    assert result.returncode == 1
    assert "message 2 did not go through: FORBIDDEN: Not you." in result.stderr


@pytest.fixture
def foreign() -> Iterator[tuple[str, list[str]]]:
    """A server that greets in its own way, and what it was sent."""
    heard: list[str] = []

    def talk(connection: ServerConnection) -> None:
        connection.send('{"welcome":true}')
        heard.extend(str(frame) for frame in connection)

    with serve(talk, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/", heard
        server.shutdown()
        thread.join(HANG_S)


def test_a_server_of_another_make_gets_what_was_typed_and_nothing_else(foreign, wsctl):
    url, heard = foreign
    lines = ['{"type":"say","timestamp":1,"data":"a"}', '{"type":"a b","timestamp":1}']
    result = wsctl("connect", url, stdin=text_of(lines))
    assert result.returncode == 0, result.stderr
    assert heard == lines


def test_an_output_that_takes_nothing_ends_with_1(serving, shell):
    result = shell(f"connect {serving().url} --count 1 >/dev/full")
    assert result.returncode == 1
    assert result.stderr.endswith("wsctl: standard output: No space left on device\n")


def test_an_error_that_comes_after_the_end_of_the_input_ends_the_waiting_too(app, wsctl):
    result = wsctl("connect", app.url, "--type", "say", "--expect", "never", stdin="late\n")
    assert result.returncode == 1
    assert "never did not come: line 1 did not go through: FORBIDDEN: Not you." in result.stderr


def test_an_end_that_waits_for_the_reader_of_the_output_is_told_and_can_be_interrupted(serving, wsctl, start_wsctl):
    server = serving()
    client = start_wsctl("connect", server.url, "--session", "room")
    assert "session room" in client.stderr.readline()
    assert wsctl("connect", server.url, "--session", "room", stdin="x" * 200_000 + "\n").returncode == 0
    wait_until_full(client)
    assert server.stop() == 0
    told = client.stderr.readline()
    assert told.startswith("it has ended (connection closed: 1001 going away")
    assert "waits for whoever reads standard output" in told
    client.send_signal(signal.SIGINT)
    assert client.wait(HANG_S) == 130

"""Conversations with servers of other makes, the real npm packages, through the command line as somebody has them."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cbor2
import msgspec
import pytest

SEED = Path(__file__).parents[1] / "seed"
HANG_S = 60

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not all((SEED / "node_modules" / name).is_dir() for name in ("ws", "socket.io", "graphql-ws")),
        reason="the npm packages are missing: npm ci --prefix tests/seed",
    ),
]


@dataclass
class Foreign:
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def requests(self) -> list[str]:
        """The paths that were asked for, with their queries."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/seen", timeout=HANG_S) as response:
            return json.load(response)


@pytest.fixture
def foreign() -> Iterator[Callable[[str], Foreign]]:
    """Start a server of another make: `foreign("socketio")`."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> Foreign:
        process = subprocess.Popen(
            ["node", str(SEED / "foreign_servers.mjs"), name], stdout=subprocess.PIPE, text=True, cwd=SEED
        )
        started.append(process)
        assert process.stdout is not None
        return Foreign(int(process.stdout.readline()))

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lines_of(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_mute_echo_gets_what_is_typed_as_it_is_and_no_token_path_or_ping(foreign, wsctl):
    server = foreign("echo")
    result = wsctl("connect", server.url, "--linger", "1s", stdin='hello\n{"event":"a","payload":{"x":1.10}}\n')
    lines = lines_of(result)
    assert lines[0]["text"] == "hello"
    assert '"x":1.10' in result.stdout
    assert (lines[1]["event"], "timestamp" in lines[1]) == ("a", False)
    assert len(lines) == 2
    assert server.requests == ["/"]


def test_the_type_in_any_json_can_be_expected_filtered_and_waited_for(foreign, wsctl):
    server = foreign("chat")
    ask = '{"event":"join","requestId":"7","payload":{"room":1}}'
    result = wsctl("connect", server.url, "--send", ask, "--expect", "join-done", "--timeout", "20s")
    assert [line["event"] for line in lines_of(result)] == ["welcome", "join-done"]
    result = wsctl("connect", server.url, "--send", ask, "--filter", "type:join*", "--until", "type:join-done")
    assert [line["event"] for line in lines_of(result)] == ["join-done"]


def test_a_value_of_a_reply_is_captured_and_sent_with_what_comes_after_it(foreign, wsctl):
    server = foreign("chat")
    result = wsctl(
        "connect", server.url, "--capture", "n=data.id", "--send", '{"event":"make"}',
        "--send", '{"event":"take","payload":{"id":"{{n}}","raw":{{n}}}}', "--expect", "take-done", "--timeout", "20s",
    )  # fmt: skip
    assert lines_of(result)[-1]["payload"]["was"] == {"id": "42", "raw": 42}


@pytest.mark.parametrize("capture", ["n", "n=x.y", "uuid=data.id", "n=data..id"])
def test_a_capture_that_is_none_is_refused(capture, wsctl):
    result = wsctl("connect", "ws://127.0.0.1:1/", "--capture", capture, "--send", "x")
    assert result.returncode == 2
    assert "--capture" in result.stderr


def test_a_close_code_of_another_make_is_not_explained_as_one_of_ours(foreign, wsctl):
    result = wsctl("connect", foreign("chat").url, "--raw", "--send", "bye", "--expect", "nothing", "--reconnect")
    assert result.returncode == 1
    assert "4001 (Session expired)" in result.stderr
    assert "token" not in result.stderr
    assert "authentication" not in result.stderr


def test_the_heartbeat_and_the_greeting_of_any_server_are_settings_also_in_a_profile(foreign, wsctl, tmp_path):
    server = foreign("chat")
    (tmp_path / "wsctl.toml").write_text(
        f'[profiles.chat]\nurl = "{server.url}"\nprotocol = "json"\ngreeting = "welcome"\n'
        'on-open = ["{\\"event\\":\\"hello\\"}"]\nheartbeat = "{\\"event\\":\\"beat\\"}"\nheartbeat-every = "100ms"\n'
        'beat = "are-you-there"\nbeat-answer = "yes"\n'
    )
    result = wsctl("connect", "--profile", "chat", "--expect", "alive", "--timeout", "20s")
    types = [line["event"] for line in lines_of(result)]
    assert set(types) >= {"welcome", "hello-done", "alive"}
    assert "are-you-there" not in types


@pytest.mark.parametrize("form", ["hex", "base64", "file"])
def test_binary_goes_out_and_comes_back_and_is_recorded_as_base64(form, foreign, wsctl, tmp_path):
    server = foreign("echo")
    content = bytes([0, 1, 254, 255])
    (tmp_path / "blob").write_bytes(content)
    ways = {
        "hex": ["--hex", "--send", "00 01 fe ff"],
        "base64": ["--base64", "--send", base64.b64encode(content).decode()],
        "file": ["--send-file", "blob"],
    }
    result = wsctl("connect", server.url, *ways[form], "--record", "r.jsonl", "--count", "1", "--timeout", "20s")
    [line] = lines_of(result)
    assert (base64.b64decode(line["base64"]), line["type"]) == (content, "binary")
    recorded = [json.loads(text) for text in (tmp_path / "r.jsonl").read_text().splitlines() if "base64" in text]
    assert [(base64.b64decode(item["base64"]), "sentAtMs" in item) for item in recorded] == [
        (content, True),
        (content, False),
    ]
    again = wsctl("replay", "r.jsonl", server.url, "--linger", "1s")
    assert [base64.b64decode(line["base64"]) for line in lines_of(again)] == [content]


@pytest.mark.parametrize("encode", [msgspec.msgpack.encode, cbor2.dumps])
def test_messagepack_and_cbor_are_shown_decoded(encode, foreign, wsctl):
    hexed = encode({"type": "news", "data": [1, "é"]}).hex()
    result = wsctl("connect", foreign("echo").url, "--hex", "--send", hexed, "--expect", "news", "--timeout", "20s")
    [line] = lines_of(result)
    assert (line["type"], line["data"]) == ("news", [1, "é"])


def test_what_is_no_hex_is_told_and_sent_to_nobody(foreign, wsctl):
    result = wsctl("connect", foreign("echo").url, "--hex", "--linger", "300ms", stdin="00\nxyz\n")
    assert result.returncode == 1
    assert "line 2" in result.stderr
    assert "is not hex" in result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_a_wsctl_server_refuses_binary_with_1003_and_the_client_says_so(serving, wsctl):
    url = serving().url
    result = wsctl("connect", url, "--hex", "--send", "00", "--expect", "never", "--timeout", "20s")
    assert result.returncode == 2
    assert "takes no binary frames: it would close with 1003" in result.stderr
    result = wsctl("connect", url, "--hex", "--linger", "300ms", stdin="00\n")
    assert result.returncode == 1
    assert "line 1" in result.stderr
    assert "1003" in result.stderr


def test_socketio_is_greeted_kept_alive_heard_and_answered(foreign, wsctl, tmp_path):
    server = foreign("socketio")
    result = wsctl(
        "connect", server.url, "--protocol", "socketio", "--hello", '{"name":"ada"}', "--record", "r.jsonl",
        "--send", '{"type":"say","data":[1,{"a":2}]}', "--send", '{"type":"say","data":"x","id":"5"}',
        "--send", '{"type":"bytes"}', "--send", '{"type":"wait"}', "--expect", "waited", "--timeout", "30s",
    )  # fmt: skip
    lines = lines_of(result)
    by_type = {line["type"]: line for line in lines}
    assert by_type["news"]["data"] == {"hello": "ada"}
    assert by_type["said"]["data"] == [1, {"a": 2}]
    assert (by_type["ack"]["id"], by_type["ack"]["data"]) == ("5", {"got": ["x"]})
    assert base64.b64decode(by_type["binary"]["base64"]) == b"\x01\x02\xff"
    assert by_type["file"]["text"].startswith("451-")
    assert "ping" not in by_type  # answered: at 200 ms each, without an answer the server would have been gone
    assert all("token" not in path for path in server.requests)
    assert any("EIO=4" in path for path in server.requests)
    recorded = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert {"text": "3", "type": "pong"} in [
        {name: value for name, value in line.items() if name in ("text", "type")} for line in recorded
    ]
    again = wsctl("replay", "r.jsonl", server.url, "--protocol", "socketio", "--speed", "max", "--linger", "1500ms")
    assert {"said", "ack", "file", "waited"} <= {line["type"] for line in lines_of(again)}


def test_a_namespace_that_refuses_says_why(foreign, wsctl):
    result = wsctl("connect", foreign("socketio").url, "--protocol", "socketio", "--channel", "/admin", "--send", "x")
    assert result.returncode not in (0, 2)
    assert "not you" in result.stderr


def test_socketio_is_named_where_nobody_named_it(foreign, wsctl):
    server = foreign("socketio")
    url = f"{server.url}socket.io/?EIO=4&transport=websocket"
    result = wsctl("connect", url, "--linger", "300ms", "--send", "40", "--expect", "never", "--timeout", "2s")
    assert "--protocol socketio" in result.stderr
    assert all("token" not in path for path in server.requests)


def test_what_helps_is_told_where_a_protocol_is_missing(foreign, wsctl):
    url = foreign("graphql").url
    talk = ("--send", "query { hello }", "--timeout", "20s")
    closed = wsctl("connect", f"{url}graphql", *talk)
    assert (closed.returncode, "4406" in closed.stderr) == (1, True), closed.stderr
    assert closed.stderr.endswith("; --protocol graphql-ws asks for the subprotocol of GraphQL\n")
    nowhere = wsctl("connect", foreign("socketio").url, *talk)
    assert nowhere.returncode == 3
    assert "; is its path another than /? --protocol socketio and phoenix know theirs" in nowhere.stderr


def test_a_graphql_subscription_is_initialised_heard_and_completed(foreign, wsctl):
    server = foreign("graphql")
    query = "subscription { count(to: 3) }"
    result = wsctl(
        "connect", server.url, "--protocol", "graphql-ws", "--send", query, "--expect", "complete", "--timeout", "20s"
    )
    lines = lines_of(result)
    assert [line["type"] for line in lines] == ["connection_ack", "next", "next", "next", "complete"]
    assert [line["payload"]["data"]["count"] for line in lines[1:4]] == [1, 2, 3]
    result = wsctl("connect", server.url, "--protocol", "graphql-ws", "--hello", '{"token":"bad"}', "--send", query)
    assert result.returncode not in (0, 2)
    assert "Forbidden" in result.stderr


def test_a_phoenix_channel_is_joined_spoken_on_and_its_replies_are_paired(foreign, wsctl):
    server = foreign("phoenix")
    result = wsctl(
        "connect", server.url, "--protocol", "phoenix", "--channel", "room:7", "--capture", "n=data.response.id",
        "--send", '{"type":"shout","data":{"body":"hi"}}', "--send", '{"type":"take","data":{"n":{{n}}}}',
        "--expect", "take", "--timeout", "20s",
    )  # fmt: skip
    lines = lines_of(result)
    assert [line["type"] for line in lines] == ["phx_reply", "phx_reply", "shout", "phx_reply", "take"]
    assert lines[2]["data"] == {"body": "hi"}
    assert lines[4]["data"] == {"n": 7}
    assert {line["sessionId"] for line in lines} == {"room:7"}
    assert server.requests == ["/socket/websocket?vsn=2.0.0"]
    result = wsctl("connect", server.url, "--protocol", "phoenix", "--channel", "room:secret", "--send", "x")
    assert "unauthorized" in result.stderr
    assert result.returncode not in (0, 2)


def test_a_json_rpc_call_gets_its_result_and_an_unknown_method_its_error(foreign, wsctl):
    server = foreign("jsonrpc")
    result = wsctl(
        "connect", server.url, "--protocol", "jsonrpc", "--send", '{"type":"subtract","data":[42,23]}',
        "--send", '{"method":"nope","id":"b"}', "--expect", "error", "--timeout", "20s",
    )  # fmt: skip
    assert [
        line.get("result", line.get("error", {}).get("code") if "error" in line else None) for line in lines_of(result)
    ] == [19, -32601]


def test_an_explicit_token_always_goes(foreign, wsctl):
    server = foreign("echo")
    result = wsctl("connect", server.url, "--token", "abc", "--send", "x", "--count", "1", "--timeout", "20s")
    lines_of(result)
    assert server.requests == ["/?token=abc"]


def test_a_wsctl_server_at_another_path_is_found_out_and_spoken_to_as_a_guest(serving, wsctl):
    result = wsctl("connect", serving("--path", "/x/").url, "--send", "hi", "--expect", "message", "--timeout", "20s")
    assert [line["type"] for line in lines_of(result)] == ["session_created", "message"]


def test_the_recording_of_a_foreign_server_is_looked_through_with_its_types(foreign, wsctl):
    server = foreign("chat")
    wsctl(
        "connect",
        server.url,
        "--send",
        '{"event":"a"}',
        "--expect",
        "a-done",
        "--timeout",
        "20s",
        "--record",
        "r.jsonl",
    )
    result = wsctl("connect", "--open", "r.jsonl", "--filter", "type:a-done dir:in")
    assert [line["event"] for line in lines_of(result)] == ["a-done"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--protocol", "raw", "--type-key", "x"], "--type-key"),
        (["--protocol", "nope"], "--protocol"),
        (["--beat-answer", "pong"], "--beat-answer"),
        (["--hex", "--base64"], "--hex"),
        (["--send-file", "nowhere"], "nowhere"),
    ],
)
def test_options_that_contradict_are_refused_by_name(options, said, wsctl):
    result = wsctl("connect", "ws://127.0.0.1:1/", "--send", "x", *options)
    assert result.returncode == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("name", "said", "came"),
    [
        ("chat", '{"event":"join","requestId":"7"}', "; the types that came are 'welcome', 'join-done'"),
        ("echo", "hello", "; what has no type is for --until"),
        (
            "echo",
            '{"k":"never","event":"a"}',
            "; the types that came are 'a', and it came as the member 'k': --type-key k",
        ),
    ],
)
def test_a_type_that_does_not_come_is_told_with_what_came_in_its_place(name, said, came, foreign, wsctl):
    result = wsctl("connect", foreign(name).url, "--send", said, "--expect", "never", "--timeout", "1500ms")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"wsctl: never did not come: 1.5 s are over{came}"

"""The load tester against servers of other protocols, by Node's own packages: the command as people run it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.loadrun import LoadRun, run_loadtest
from wsclient.recording import SENT, Record, line_of
from wscore.foreign import ProtocolName, ProtocolSettings
from wscore.wallclock import now_ms

HERE = Path(__file__).parent
SHORT = ("--ramp", "100ms", "--duration", "1200ms", "--drain", "1s", "--json")
PATIENT = ("--ramp", "100ms", "--duration", "1200ms", "--drain", "2s", "--json")  # what comes later is lost
pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (HERE / "node_modules" / "socket.io").is_dir(),
        reason="Node's packages are missing: npm ci --prefix tests/seed",
    ),
]


Load = Callable[..., LoadRun]


@contextmanager
def node(kind: str, *fault: str) -> Iterator[str]:
    """Run a server, with a fault if one is named, and yield where it is."""
    command = ["node", str(HERE / "load_servers.mjs"), kind, *fault]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"ws://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Run `wsctl loadtest` for a short time, with its summary as JSON."""
    return lambda *arguments, short=SHORT: run_loadtest(tmp_path, *arguments, *short)


def slow_but(cases: Iterable[str], *quick: str) -> list[Any]:
    """Return the cases, all but these marked as slow: each is a load test of more than a second."""
    return [pytest.param(case, marks=[] if case in quick else [pytest.mark.slow]) for case in cases]


ONE_OF_EACH = ("GraphQL", "Socket.IO", "Phoenix", "the seed's server, whose pong carries no id")
ECHO = '{"type":"echo","data":{"text":"hello"},"id":"{{id}}"}'
ASK = '{"action":"add","ref":{{id}},"body":{"n":{{number}}}}'
ROUND_TRIPS = {
    "echo in order": ("echo", "/", "--protocol", "raw"),
    "echo by what stands in it": ("echo", "/", "--protocol", "raw", "--reply", "echo"),
    "JSON by another key": ("ask", "/", "--protocol", "json", "--id-key", "ref", "--message", ASK),
    "GraphQL": ("graphql", "/graphql", "--protocol", "graphql-ws"),
    "GraphQL with a query": (
        *("graphql", "/graphql", "--protocol", "graphql-ws"),
        *("--message", 'query { hello(name: "{{number}}") }'),
    ),
    "Socket.IO": ("socketio", "/", "--protocol", "socketio", "--message", ECHO),
    "Phoenix": ("phoenix", "/", "--protocol", "phoenix"),
    "Phoenix, several messages": (
        *("phoenix", "/socket/websocket", "--protocol", "phoenix", "--channel", "room:{{session}}"),
        *("--message", '{"type":"shout","data":{"n":{{number}}}}', "--message", '{"type":"ask"}'),
    ),
    "the seed's server, whose pong carries no id": ("seed", "/socket.io/"),
}


@pytest.mark.parametrize("case", slow_but(ROUND_TRIPS, "JSON by another key", *ONE_OF_EACH))
@pytest.mark.parametrize("model", [("--rate", "100"), pytest.param(("--think", "10ms"), marks=pytest.mark.slow)])
def test_every_message_has_its_reply(case, model, load):
    kind, path, *options = ROUND_TRIPS[case]
    with node(kind) as url:
        result = load("heartbeat", url + path, *options, *model, "--connections", "3")
    summary = result.summary
    assert result.failures == []
    ledger = summary["ledger"]
    assert ledger["expected"] > 20
    assert (ledger["lost"], ledger["duplicated"], ledger["unknown"]) == (0, 0, 0)
    assert summary["latencies"]["latency"]["count"] == ledger["received"] == ledger["expected"] == summary["sent"]
    assert summary["errors"] == {}


BROADCASTS = {
    "a plain JSON chat": (
        *("chat", "/", "--protocol", "json", "--on-open", '{"op":"join","room":"{{session}}"}'),
        *("--greeting", "joined", "--message", '{"op":"say","text":"{{stamp}} hello"}', "--sessions", "2"),
    ),
    "Socket.IO": ("socketio", "/", "--protocol", "socketio", "--message", '{"type":"say","data":"{{stamp}}"}'),
    "Socket.IO, a namespace each": (
        *("socketio", "/", "--protocol", "socketio", "--channel", "/{{session}}", "--sessions", "2"),
        *("--hello", '{"as":"{{connection}}"}', "--message", '{"type":"say","data":"{{stamp}}"}'),
    ),
    "Phoenix": (
        *("phoenix", "/", "--protocol", "phoenix", "--channel", "room:{{session}}", "--sessions", "2"),
        *("--message", '{"type":"new_msg","data":{"body":"{{stamp}}"}}'),
    ),
}


@pytest.mark.parametrize("case", slow_but(BROADCASTS, "a plain JSON chat", "Socket.IO, a namespace each"))
def test_every_broadcast_reaches_everyone(case, load):
    kind, path, *options = BROADCASTS[case]
    with node(kind) as url:
        result = load("broadcast", url + path, *options, "--rate", "50", "--connections", "6", short=PATIENT)
    summary = result.summary
    assert result.failures == []
    ledger = summary["ledger"]
    sessions = 2 if "--sessions" in options else 1
    assert ledger["published"] == 60
    assert ledger["received"] == ledger["expected"] == 60 * 6 // sessions
    assert summary["latencies"]["last"]["count"] == 60


@pytest.mark.parametrize("kind", ["reconnect", pytest.param("soak", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_the_other_tests_of_round_trips_speak_it_too(kind, load):
    with node("socketio") as url:
        result = load(kind, url, "--protocol", "socketio", "--message", ECHO, "--rate", "100", "--connections", "3")
    assert result.failures == []
    assert result.summary["connections"]["opened"] == (6 if kind == "reconnect" else 3)


def test_a_recording_of_another_protocol_is_played_without_the_steps_of_the_protocol(load, tmp_path):
    query = {"query": '{ hello(name: "x") }'}
    asked = [{"id": str(number), "type": "subscribe", "payload": query} for number in range(5)]
    sent = map(json.dumps, [{"type": "connection_init"}, *asked])
    lines = [json.dumps({"text": text, SENT: 1_700_000_000_000 + 100 * place}) for place, text in enumerate(sent)]
    (tmp_path / "recording.jsonl").write_text("\n".join(lines))
    with node("graphql") as url:
        options = ("--protocol", "graphql-ws", "--connections", "2")
        result = load("replay", "recording.jsonl", url + "/graphql", *options)
    assert result.failures == []
    summary = result.summary
    assert summary["sent"] == summary["latencies"]["latency"]["count"]
    assert summary["sent"] % 10 == 0
    assert summary["errors"] == {}


def recording(folder: Path, protocol: str, *frames: tuple[str, str]) -> None:
    """Write the recording of a client, its frames 20 ms apart: which way each went, and its text."""
    read = ProtocolSettings(name=ProtocolName(protocol)).adapter(now_ms).read
    lines = [
        line_of(Record(1_700_000_000_000 + 20 * place, way == ">", text, read(text).message))
        for place, (way, text) in enumerate(frames)
    ]
    (folder / "recording.jsonl").write_text("\n".join(lines))


FIRST = '{"id":"s","type":"subscribe","payload":{"query":"subscription { first }"}}'
HELLO = '{"id":"q","type":"subscribe","payload":{"query":"{ hello }"}}'
PLAYED = {
    "GraphQL, a subscription that goes on": (
        *("graphql", "/graphql", "graphql-ws"),
        ((">", FIRST), ("<", '{"id":"s","type":"next","payload":{"data":{"first":1}}}')),
    ),
    "GraphQL, the same id again": (
        *("graphql", "/graphql", "graphql-ws"),
        (
            *((">", FIRST), ("<", '{"id":"s","type":"next","payload":{}}'), (">", '{"id":"s","type":"complete"}')),
            *((">", FIRST), (">", HELLO), ("<", '{"id":"q","type":"next","payload":{}}')),
        ),
    ),
    "Socket.IO": ("socketio", "/", "socketio", ((">", '420["echo",1]'), ("<", "430[1]"), (">", '420["echo",2]'))),
    "Phoenix": (
        *("phoenix", "/", "phoenix"),
        (
            (">", '["1","5","room:lobby","new_msg",{}]'),
            ("<", '["1","5","room:lobby","phx_reply",{"status":"ok","response":{}}]'),
        ),
    ),
    "JSON-RPC": (
        *("rpc", "/", "jsonrpc"),
        (
            (">", '{"jsonrpc":"2.0","method":"add","params":[1,2],"id":7}'),
            ("<", '{"jsonrpc":"2.0","result":3,"id":7}'),
        ),
    ),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if "goes on" in case else pytest.mark.slow) for case in PLAYED]
)
def test_a_recording_that_is_played_again_and_again_has_ids_of_its_own_each_time(case, load, tmp_path):
    kind, path, protocol, frames = PLAYED[case]
    recording(tmp_path, protocol, *frames)
    with node(kind) as url:
        played = ("--protocol", protocol, "--connections", "2", "--duration", "1s")
        result = load("replay", "recording.jsonl", url + path, *played, short=("--drain", "300ms", "--json"))
    summary = result.summary
    assert result.failures == [], (summary["closeReasons"], summary["errors"])
    ledger = summary["ledger"]
    assert ledger["lost"] == 0
    assert 10 < ledger["expected"] <= summary["latencies"]["latency"]["count"] <= summary["sent"]


@pytest.mark.parametrize("kind", [pytest.param("socketio", marks=pytest.mark.slow), "rpc"])
def test_a_reply_that_the_recording_has_and_the_server_does_not_give_is_lost(kind, load, tmp_path):
    _, path, protocol, frames = PLAYED["Socket.IO" if kind == "socketio" else "JSON-RPC"]
    recording(tmp_path, protocol, *frames)
    with node(kind, "lose") as url:
        played = ("--protocol", protocol, "--connections", "2", "--duration", "1s")
        result = load("replay", "recording.jsonl", url + path, *played, short=("--drain", "300ms", "--json"))
    ledger = result.summary["ledger"]
    assert 0 < ledger["lost"] == ledger["expected"] - ledger["received"] < ledger["expected"] / 5
    assert result.failures == [f"{ledger['lost']:,} messages were lost."]


@pytest.mark.slow
def test_several_processes_share_a_run_in_another_protocol(load):
    options = ("--protocol", "graphql-ws", "--rate", "100", "--connections", "4", "--processes", "2")
    with node("graphql") as url:
        result = load("heartbeat", url + "/graphql", *options)
    assert result.failures == []
    assert result.summary["ledger"]["received"] == result.summary["ledger"]["expected"] == 120


def test_values_come_from_a_csv_file(load, tmp_path):
    (tmp_path / "names.csv").write_text('name,age\n"Jane ""J"" Doe",7\nØrsted,8\n', encoding="utf-8")
    message = '{"type":"echo","data":{"name":"{{name}}","age":{{age}}},"id":"{{id}}"}'
    with node("socketio") as url:
        arguments = ("--protocol", "socketio", "--message", message, "--data", "names.csv", "--rate", "50")
        result = load("heartbeat", url, *arguments, "--connections", "2")
    assert result.failures == []


def test_an_error_as_the_reply_is_an_error(load):
    with node("graphql") as url:
        options = ("--protocol", "graphql-ws", "--message", "query { nothing }", "--rate", "50", "--connections", "2")
        result = load("heartbeat", url + "/graphql", *options)
    errors = result.summary["errors"]
    assert errors.keys() == {"an error as the reply"}
    assert errors["an error as the reply"] >= result.summary["sent"] == 60  # those of the ramp are errors too
    assert result.failures == [f"{sum(errors.values())} errors occurred."]


def test_replies_that_do_not_come_are_lost(load):
    with node("socketio") as url:
        message = '{"type":"nobody listens","id":"{{id}}"}'
        options = ("--protocol", "socketio", "--message", message, "--think", "10ms", "--reply-timeout", "100ms")
        result = load("heartbeat", url, *options, "--connections", "2")
    ledger = result.summary["ledger"]
    assert ledger["lost"] == ledger["expected"] > 6
    assert result.failures == [f"{ledger['lost']:,} messages were lost."]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("heartbeat", "--protocol", "json"), "--message: is needed"),
        (("heartbeat", "--protocol", "json", "--message", "{{nmae}}"), "there is no variable 'nmae'"),
        (("broadcast", "--protocol", "json", "--message", '{"a":1}'), "{{stamp}}"),
        (("heartbeat", "--protocol", "socketio", "--message", "x", "--channel", "/{{roon}}"), "variable 'roon'"),
        (("heartbeat", "--protocol", "raw", "--data", "none.csv"), "none.csv: No such file"),
        (("heartbeat", "--protocol", "raw", "--id-key", "x"), "--id-key: means nothing to raw"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_runs(arguments, words, load):
    kind, *options = arguments
    result = load(kind, "ws://127.0.0.1:9/", *options)
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err


SOCKETIO_SAY = ("--message", '{"type":"echo","data":1,"id":"{{id}}"}')
WELCOMED = ("--message", '{"event":"say","requestId":"{{id}}","payload":1}')
FOUND_OUT = {
    "the seed's server": ("seed", "/socket.io/", (), "wsctl, by its first message"),
    "the seed's server elsewhere": ("seed", "/chat", (), "wsctl, by its first message"),
    "GraphQL, which misses its subprotocol": ("graphql", "/graphql", (), "graphql-ws, by its close code 4406"),
    "GraphQL, which gets it": (
        *("graphql", "/graphql", ("--subprotocol", "graphql-transport-ws")),
        "graphql-ws, by the subprotocol that it chose",
    ),
    "Socket.IO": ("socketio", "/socket.io/", SOCKETIO_SAY, "socketio, by its answer Transport unknown"),
    "Socket.IO with its fields": (
        *("socketio", "/socket.io/?EIO=4&transport=websocket", SOCKETIO_SAY),
        "socketio, by its first message",
    ),
    "a chat that greets": ("greeter", "/", WELCOMED, "json, by its first message, of the type welcome"),
    "a silent server, by JSON": ("ask", "/", ("--id-key", "ref", "--message", ASK), "json, by the keys that are given"),
    "a silent server, by what is said": ("ask", "/", ("--message", ASK), "json, by what is sent, as it says nothing"),
    "a silent echo, by what is said": ("echo", "/", ("--message", "{{stamp}}"), "raw, by what is sent, as it says"),
    "JSON-RPC, by what is said": (
        *("rpc", "/", ("--message", '{"jsonrpc":"2.0","method":"add","params":[1,2],"id":{{id}}}')),
        "jsonrpc, by what is sent, as it says nothing first",
    ),
}


@pytest.mark.parametrize(
    "case", slow_but(FOUND_OUT, "the seed's server", "Socket.IO", "a silent echo, by what is said")
)
def test_what_a_server_speaks_is_found_out_by_what_comes_and_said(case, load, tmp_path):
    kind, path, options, words = FOUND_OUT[case]
    with node(kind) as url:
        result = load("heartbeat", url + path, *options, "--rate", "100", "--connections", "3", "--out", "reports")
    assert result.failures == [], result.err
    assert result.summary["protocol"].startswith(words)
    assert words in (tmp_path / "reports" / "summary.md").read_text()
    head = result.err.splitlines()[0]
    assert head.startswith("heartbeat ws://" if case == "the seed's server" else f"{url}{path} speaks {words}")


@pytest.mark.parametrize(
    ("kind", "path", "code", "words"),
    [
        ("echo", "/", 2, "says nothing, so nothing tells what it speaks; say raw for an echo, else name it and give a"),
        ("greeter", "/", 2, "--message: is needed: with json every server has messages of its own"),
        ("socketio", "/", 3, "is its path another than /? --protocol socketio and phoenix know theirs"),
        ("phoenix", "/", 3, "HTTP 400 Bad Request; is its path another than /?"),
        ("strict", "/", 3, "closed with 1008 who are you before it said anything; say with --protocol what it speaks"),
        ("refusing", "/", 4, "the server answered HTTP 401"),
    ],
)
def test_what_cannot_be_found_out_is_told_with_the_option_that_helps(kind, path, code, words, load):
    with node(kind) as url:
        result = load("heartbeat", url + path)
    assert (result.code, result.out) == (code, "")
    assert words in result.err.splitlines()[-1]
    assert "Traceback" not in result.err


@pytest.mark.parametrize("path", ["/", "/socket.io/"])
def test_a_server_that_is_looked_at_hears_nothing(path, load):
    """It closes with what it heard; a guest's token goes to the path of wsctl's clients alone."""
    with node("listener") as url:
        result = load("heartbeat", url + path, "--on-open", "hello")
        with urlopen(url.replace("ws:", "http:") + "/heard") as answer:
            (first, *_) = json.load(answer)
    assert first["heard"] == []
    assert ("token=guest_" in first["url"]) is (path == "/socket.io/")
    assert result.code in (2, 3)


@pytest.mark.slow
def test_the_quick_test_of_another_protocol_is_about_round_trips(load):
    with node("graphql") as url:
        result = load(f"{url.removeprefix('ws://')}/graphql", short=("--json",))
    assert set(result.summary) == {"heartbeat"}
    assert result.code in (0, 98), result.summary["heartbeat"]["reasons"]
    assert "the broadcast is left out" in result.err

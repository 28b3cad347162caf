"""Verdicts about servers of other protocols with a known fault, and about sound ones: the command as people run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.loadrun import run_loadtest
from tests.seed.test_load_foreign import Load, load, node, pytestmark  # noqa: F401 - the fixture and the marks

RPC = ("rpc", "/", "--protocol", "jsonrpc", "--message", '{"method":"add","params":[1,{{number}}]}')
GATEWAY = (
    *("gateway", "/", "--type-key", "t", "--on-open", '{"op":2,"d":{"token":"secret"}}', "--greeting", "READY"),
    *("--message", '{"op":8,"d":{"nonce":"{{id}}"}}', "--reply-key", "nonce"),
)
BEATING = ("--heartbeat", '{"op":1,"d":null}', "--heartbeat-every", "200ms")
SERVERS = {
    "JSON-RPC": RPC,
    "a gateway of op codes": (*GATEWAY, *BEATING),
    "an echo": ("echo", "/", "--protocol", "raw", "--reply", "echo"),
    "replies by another key": ("ask", "/", "--id-key", "ref", "--message", '{"action":"add","ref":{{id}}}'),
    "replies by a key of the data": (
        *("greeter", "/", "--message", '{"event":"say","payload":{"call":{"no":{{id}}}}}'),
        *("--reply", "key", "--reply-key", "call.no"),
    ),
    "GraphQL": ("graphql", "/graphql", "--protocol", "graphql-ws"),
}
# Of any JSON or text a second one may be meant for everyone.
SAYS_TWICE = ("JSON-RPC", "GraphQL")
FAULTS = {"none": [], "lose": ["lost"], "double": ["twice"], "delay": ["rtt.max<200ms was missed"]}


@pytest.mark.parametrize(
    ("server", "fault"),
    [
        # Each fault once, and each server once: all with all takes a minute.
        pytest.param(server, fault, marks=[] if server == "JSON-RPC" or fault == "none" else [pytest.mark.slow])
        for server in SERVERS
        for fault in FAULTS
        if fault != "double" or server in SAYS_TWICE
    ],
)
def test_a_sound_server_passes_and_each_fault_is_what_fails_it(server, fault, load):  # noqa: F811
    kind, path, *options = SERVERS[server]
    if fault == "delay":
        options += ["--threshold", "rtt.max<200ms"]
    with node(kind, *([] if fault == "none" else [fault])) as url:
        result = load("heartbeat", url + path, *options, "--rate", "100", "--connections", "2")
    assert len(result.failures) == len(FAULTS[fault]), result.failures
    for reason, words in zip(result.failures, FAULTS[fault], strict=True):
        assert words in reason
    ledger = result.summary["ledger"]
    assert ledger["expected"] == 120
    assert (ledger["lost"] > 1) is (fault == "lose")


def test_a_server_that_wants_heartbeats_and_gets_none_is_told_with_its_code(load):  # noqa: F811
    kind, path, *options = GATEWAY
    with node(kind) as url:
        result = load("heartbeat", url + path, *options, "--connections", "2")
    assert "Every connection was gone" in result.failures[0]
    assert "(4009 Session timed out ×2)" in result.failures[0]


@pytest.mark.parametrize("asks", [True, False], ids=["that asks", "that only answers"])
def test_the_heartbeats_of_a_server_are_answered(asks, load):  # noqa: F811
    kind, path, *options = GATEWAY
    options[options.index("t")] = "op"  # so that a beat has a type
    options[options.index("READY")] = "any"
    beats = ("--beat", "1", "--beat-answer", '{"op":1,"d":null}') if asks else ()
    with node(kind) as url:
        result = load("heartbeat", url + path, *options, *beats, *BEATING, "--rate", "100", "--connections", "2")
    assert result.failures == []


@pytest.mark.slow
def test_a_greeting_that_does_not_come_is_told_with_what_came(load):  # noqa: F811
    kind, path, *options = GATEWAY
    with node(kind) as url:
        wrong_key = load("heartbeat", url + path, "--protocol", "json", *options[2:])
        other = ["nobody" if option == "READY" else option for option in options]
        never = load("heartbeat", url + path, "--protocol", "json", *other[2:])
        wrong_token = load("heartbeat", url + path, *(option.replace("secret", "guess") for option in options))
    assert (wrong_key.code, wrong_token.code) == (3, 3)
    assert "(Session timed out); 'READY' came as the member 't': --type-key t" in wrong_key.err
    assert "(Session timed out); it is to be 'nobody', and the types that came are '10', '0', '1'" in never.err
    assert "closed with 4004 before greeting (Authentication failed)" in wrong_token.err


def test_replies_that_are_looked_for_in_the_wrong_place_are_told_with_the_options_that_help(load):  # noqa: F811
    with node("ask") as url:
        result = load("heartbeat", url + "/", "--message", '{"action":"add","ref":{{id}}}', "--reply-key", "nowhere")
    (text,) = result.summary["errors"]
    assert text.startswith("a message, and none answers what was sent: see --reply")
    assert '--id-key; the first one: {"action":"add.done","ref":' in text
    assert "messages were lost." in " ".join(result.failures)


@pytest.mark.slow
def test_more_messages_than_were_asked_for_are_told_where_replies_come_by_their_order(load, tmp_path):  # noqa: F811
    said = (
        "--message",
        '{"op":"say","text":"{{number}}"}',
        "--on-open",
        '{"op":"join","room":"r"}',
        "--greeting",
        "joined",
    )
    with node("chat") as url:
        alone = load("heartbeat", url + "/", *said, "--connections", "1", "--rate", "40", "--out", "alone")
        result = load("heartbeat", url + "/", *said, "--connections", "3", "--rate", "40", "--out", "reports")
    assert alone.summary["unpaired"] == 0
    assert result.summary["unpaired"] > 60
    hint = f"{result.summary['unpaired']:,} more messages came than were asked for"
    for folder, hinted in (("alone", False), ("reports", True)):
        assert (hint in (tmp_path / folder / "summary.md").read_text()) is hinted


@pytest.mark.slow
def test_where_nothing_is_answered_only_what_is_sent_counts(load):  # noqa: F811
    with node("listener") as url:
        unasked = load("heartbeat", url + "/", "--message", "{{stamp}}", "--reply", "none", "--rate", "100")
        asked = load("heartbeat", url + "/", "--message", "{{stamp}}", "--rate", "100")
    assert unasked.failures == []
    assert (unasked.summary["sent"], unasked.summary["ledger"]["expected"]) == (120, 0)
    assert asked.failures == ["120 messages were lost."]


def test_what_cannot_be_told_of_any_json_is_neither_shown_as_0_nor_holds(load):  # noqa: F811
    kind, path, *options = SERVERS["replies by another key"]
    rules = ("--threshold", "duplicates<=0", "--threshold", "lost<=0")
    with node(kind, "double") as url:
        result = load("heartbeat", url + path, *options, *rules, "--connections", "2", "--out", "reports")
    assert [check["passed"] for check in result.summary["checks"]] == [False, True]
    assert result.failures == ["duplicates<=0 was missed: nothing of the kind was measured."]


def _find_max(folder: Path, url: str, *rules: str) -> tuple[int, dict[str, object]]:
    _, path, *options = RPC
    probe = ("--start", "4", "--ceiling", "8", "--rate", "100", "--duration", "1s", "--drain", "100ms", "--json")
    result = run_loadtest(folder, "find-max", url + path, *options, *probe, *rules)
    return result.code, json.loads(result.out)


@pytest.mark.slow
def test_find_max_searches_a_server_of_another_protocol(tmp_path):
    with node("rpc") as url:
        code, found = _find_max(tmp_path, url, "--threshold", "lost<=0", "--threshold", "errors<=0")
    assert (code, found["level"], found["stop"]) in ((0, 8, "ceiling"), (98, found["level"], "generator"))
    with node("rpc", "lose") as url:
        code, found = _find_max(tmp_path, url, "--threshold", "lost<=0")
    assert (code, found["level"], found["stop"], found["limits"]) == (99, 0, "threshold", ["lost<=0"])


@pytest.mark.slow
def test_runs_of_another_protocol_are_compared(load, tmp_path):  # noqa: F811
    _, path, *options = RPC
    for name, fault in (("sound", ()), ("slow", ("delay",))):
        with node("rpc", *fault) as url:
            load("heartbeat", url + path, *options, "--rate", "100", "--connections", "2", "--out", name)
    worse = run_loadtest(tmp_path, "compare", "sound", "slow", "--json")
    same = run_loadtest(tmp_path, "compare", "sound", "sound", "--json")
    if 98 in (worse.code, same.code):
        pytest.skip("this machine is too busy to drive a valid run")
    assert (worse.code, worse.summary["isWorse"], worse.summary["sameConfiguration"]) == (99, True, True)
    assert (same.code, same.summary["isWorse"]) == (0, False)


HINT = "a server that leaves the sender out needs --except-sender"


@pytest.mark.parametrize(
    ("kind", "fault", "options", "hinted"),
    [
        ("others", (), (), True),
        ("others", (), ("--except-sender",), False),
        pytest.param("others", ("lose",), (), False, marks=pytest.mark.slow),
        # This one loses as much, but not the publishers' own.
        pytest.param("echo", (), (), False, marks=pytest.mark.slow),
    ],
)
def test_losses_of_the_senders_own_messages_alone_are_told_with_the_option(kind, fault, options, hinted, tmp_path):
    steady = ("--connections", "3", "--ramp", "100ms", "--rate", "40", "--duration", "1s", "--drain", "500ms")
    with node(kind, *fault) as url:
        said = ("--message", '{"say":"{{stamp}}"}', "--out", "reports")
        result = run_loadtest(tmp_path, "broadcast", url, *said, *steady, *options)
    assert (HINT in " ".join(result.out.split())) is hinted, result.out
    summary = json.loads((tmp_path / "reports" / "summary.json").read_text())
    reasons = set(summary["reasons"]) - set(summary["generator"]["doubts"])
    assert (result.code, summary["verdict"]) in ((0, "passed") if options else (99, "failed"), (98, "invalid"))
    assert reasons == (set() if options else {f"{summary['ledger']['lost']:,} messages were lost."})
    assert (HINT in (tmp_path / "reports" / "summary.md").read_text()) is hinted

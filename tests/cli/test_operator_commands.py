"""`wsctl publish`, `rooms`, `sessions`, `connections`, `history`, `kick` and `revoke` against running servers."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
from contextlib import ExitStack
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosed

from tests.cli.conftest import HANG_S, WSCTL, environment
from tests.cli.operators import Member
from tests.cli.test_publisher import stub

KEY = "0123456789abcdef-operator"
READ_KEY = "0123456789abcdef-reader"


@pytest.fixture
def ops(start_wsctl, wsctl):
    """Start a server; returns its process, what runs a command against its port, and what makes members."""
    stack = ExitStack()

    def start(*options, **variables):
        process = start_wsctl("serve", "--port", "0", "--ops-port", "0", *options, **variables)
        for line in process.stderr:
            if line.startswith("wsctl serves "):
                url = line.split()[2]
            if line.startswith("  ops:"):
                return process, partial(wsctl, WSCTL_OPS_URL=line.split()[1]), partial(Member, stack, url)
        raise AssertionError(f"it ended: {process.wait()}")

    with stack:
        yield start


def printed(result) -> object:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_message_from_outside_reaches_a_room_a_session_and_a_user(ops, request, workers):
    redis = () if workers == 1 else ("--workers", "2", "--broker", request.getfixturevalue("redis").url)
    _, run, member = ops(*redis)
    ann, bob = member("s", "lobby"), member("t", "lobby")
    done = run("publish", '{"n": 1}', "--room", "lobby", "--type", "news", "--sender", "cron")
    assert (done.returncode, done.stdout, done.stderr) == (0, "published to room lobby as seq 1\n", "")
    got = ann.receive("news")
    assert (got["data"], got["userId"]) == ({"n": 1}, "cron")
    assert bob.receive("news")["data"] == {"n": 1}
    assert (
        run("publish", "-", "--text", "--user", ann.user, stdin="héllo\n").stdout == f"published to user {ann.user}\n"
    )
    assert ann.receive("message")["data"] == "héllo"
    both = printed(run("publish", "--session", "s", "--session", "t", "--json"))
    assert [(row["session"], row["seq"]) for row in both["results"]] == [("s", 1), ("t", 1)]
    assert "data" not in bob.receive("message")
    lines = run("history", "--room", "lobby").stdout.splitlines()
    assert [json.loads(line)["data"] for line in lines] == [{"n": 1}]
    assert run("rooms").stdout == "2  lobby\n"
    assert printed(run("sessions", "--json", "--order", "name")) == {
        "sessions": [{"name": "s", "connections": 1}, {"name": "t", "connections": 1}],
        "missing": [],
        "more": False,
    }
    listed = printed(run("connections", "--user", bob.user, "--json"))
    assert (listed["total"], listed["connections"][0]["id"], listed["missing"]) == (1, bob.id, [])
    shown = run("connections")
    assert ann.id in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    kicked = run("kick", bob.user, "--reason", "enough")
    assert (kicked.returncode, kicked.stdout) == (0, f"closed 1 connection of user {bob.user}\n")
    with pytest.raises(ConnectionClosed, match=r"4004 .*enough"):
        bob.receive("never")
    assert printed(run("revoke", ann.user, "--keep", "1h", "--json")).keys() == {"expiresAtMs"}
    with pytest.raises(ConnectionClosed, match="4001"):
        ann.receive("never")


def test_a_worker_that_does_not_answer_is_named_and_the_exit_code_tells(ops, redis):
    process, run, member = ops("--workers", "2", "--broker", redis.url)
    ann = member("s", "lobby")
    pids = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout.split()
    page = printed(run("connections", "--json"))
    assert page["connections"][0]["id"] == ann.id
    os.kill(int(pids[-1]), signal.SIGSTOP)
    try:
        kicked = run("kick", "nobody", "--json")
        listed = run("rooms", "--json")
    finally:
        os.kill(int(pids[-1]), signal.SIGCONT)
    assert kicked.returncode == listed.returncode == 1
    for result in (kicked, listed):
        (missing,) = json.loads(result.stdout)["missing"]
        assert f"no answer within a second from {missing}: " in result.stderr


def test_what_is_not_accepted_does_not_end_with_0(ops, wsctl):
    _, run, _ = ops()
    for arguments, code, told in (
        (("publish", "--room", "a b"), 1, "INVALID_REQUEST"),
        (("publish", "--room", "a", "--type", "ping"), 1, "INVALID_REQUEST"),
        (("publish", "{nope", "--room", "a"), 2, "DATA: is not JSON"),
        (("publish", "--room", "a", "--text"), 2, "--text: there is no text"),
        (("publish", "1"), 2, "for whom?; give --room, --session or --user"),
        (("publish", "--room", "a", "--idempotency-key", "a b"), 2, "--idempotency-key: "),
        (("publish", "--room", "\udcff"), 2, "is not text in UTF-8"),
        (("kick",), 2, "USER: name one user, or one --connection"),
        (("kick", "ann", "--connection", "x"), 2, "USER: name one user, or one --connection"),
        (("kick", "ann"), 1, "user ann has no connection"),
        (("kick", "--connection", "x"), 1, "there is no connection x"),
        (("kick", "ann", "--close-code", "7"), 1, "INVALID_REQUEST"),
        (("revoke",), 2, "what?"),
        (("revoke", "ann", "--jti", "x"), 2, "--jti: names one token"),
        (("revoke", "--issued-before", "soon"), 2, "--issued-before: 'soon' is no time"),
        (("history",), 2, "whose?; give one of --room and --session"),
        (("rooms", "--limit", "1000"), 2, "--limit: by size there are at most 999"),
        (("rooms", "--ops-url", "ws://x"), 2, "--ops-url: 'ws://x' is no http:// or https:// URL"),
        (("rooms", "--timeout", "0s"), 2, "--timeout: is no time at all"),
    ):
        result = run(*arguments)
        assert (result.returncode, result.stdout) == (code, ""), (arguments, result.stderr)
        assert told in result.stderr
        assert result.stderr.count("\n") == 1
    two = run("publish", "1", "--room", "a", "--session", "b", "--type", "ping")
    assert two.returncode == 1
    assert two.stdout == ""
    nobody = wsctl("rooms", "--ops-url", "http://127.0.0.1:1")
    assert (nobody.returncode, nobody.stderr) == (
        3,
        "wsctl: no answer of the operations port at http://127.0.0.1:1: Connection refused\n",
    )


def test_the_key_comes_from_a_file_or_the_environment_and_is_shown_nowhere(ops, tmp_path):
    _, run, _ = ops(WSCTL_OPS_KEY=KEY, WSCTL_OPS_READ_KEY=READ_KEY)
    (tmp_path / "ops.key").write_text(KEY + "\n")
    assert run("publish", "--room", "a", "--ops-key-file", "ops.key").returncode == 0
    assert run("publish", "--room", "a", WSCTL_OPS_KEY=KEY).stdout == "published to room a as seq 2\n"
    assert run("rooms", WSCTL_OPS_KEY=READ_KEY).returncode == 0
    for variables in ({}, {"WSCTL_OPS_KEY": "0123456789abcdef-wrong"}, {"WSCTL_OPS_KEY": READ_KEY}):
        refused = run("publish", "--room", "a", **variables)
        assert refused.returncode == 4
        assert "0123456789abcdef" not in refused.stderr
    broken = run("rooms", WSCTL_OPS_KEY="two words")
    assert (broken.returncode, broken.stderr) == (2, "wsctl: WSCTL_OPS_KEY: does not hold one key in plain ASCII\n")


def test_an_idempotency_key_publishes_once(ops):
    _, run, _ = ops()
    for _ in range(2):
        assert "as seq 1" in run("publish", "1", "--room", "a", "--idempotency-key", "order-17").stdout
    assert len(run("history", "--room", "a").stdout.splitlines()) == 1
    again = run("publish", "2", "--room", "a", "--idempotency-key", "order-17")
    assert (again.returncode, "CONFLICT" in again.stderr) == (1, True)


def test_a_history_is_paged_and_removed(ops):
    _, run, _ = ops()
    for number in range(5):
        run("publish", str(number), "--session", "s")
    messages = printed(run("history", "--session", "s", "--limit", "2", "--before", "5", "--json"))["messages"]
    assert [message["data"] for message in messages] == [2, 3]
    assert run("history", "--session", "s", "--remove").stdout == "removed what the session s kept\n"
    empty = run("history", "--session", "s")
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "the session s keeps nothing\n")


def test_lists_say_that_there_is_more(ops):
    _, run, member = ops()
    for number in range(3):
        member(f"s{number}")
    for order in ("size", "name"):
        shown = run("sessions", "s", "--limit", "2", "--order", order)
        assert shown.stdout == "1  s0\n1  s1\n"
        assert shown.stderr == "these are 2 sessions, and there are more: --limit\n"
    shown = run("connections", "--limit", "2")
    assert len(shown.stdout.splitlines()) == 4
    assert shown.stderr == "these are 2 of 3 connections: --limit\n"
    assert run("rooms", "x").stderr == "nobody is in a room whose name begins so: x\n"
    assert run("connections", "--address", "10.0.0.0/8").stderr == "there is no such connection\n"


HOSTILE = "x\x1b[2J\x9b1m\u202eevil"


def test_texts_of_strangers_move_no_cursor(ops):
    secret = "a secret for tests, 32 bytes or more"
    _, run, _ = ops(WSCTL_JWT_SECRET=secret)
    run("publish", json.dumps(HOSTILE), "--room", "a")
    kicked, revoked = run("kick", HOSTILE), run("revoke", HOSTILE)
    published = run("publish", "--user", HOSTILE)
    for result in (
        run("history", "--room", "a"),
        run("history", "--room", "a", "--json"),
        kicked,
        revoked,
        published,
        run("publish", "--user", HOSTILE, "--json"),
    ):
        assert result.stdout + result.stderr
        assert not set(result.stdout + result.stderr) & {"\x1b", "\x9b", "\u202e"}
    assert printed(run("history", "--room", "a", "--json"))["messages"][0]["data"] == HOSTILE


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("\n", 1), ("y\n", 0)])
def test_at_a_terminal_a_kick_asks_first(ops, answer, code):
    _, run, member = ops()
    ann = member("s")
    said, returned = in_terminal(["kick", ann.user], answer, run.keywords["WSCTL_OPS_URL"])
    assert f"close 1 connection of user {ann.user}? [y/N]" in said
    assert returned == code
    listed = printed(run("connections", "--json"))["total"] if code else None
    assert listed == (1 if code else None)
    assert ("nothing was done" in said) == bool(code)


def test_yes_asks_nothing_at_a_terminal(ops):
    _, run, member = ops()
    ann = member("s")
    said, returned = in_terminal(["kick", "--yes", "--connection", ann.id], "", run.keywords["WSCTL_OPS_URL"])
    assert (returned, said.strip()) == (0, f"closed connection {ann.id}")


@pytest.mark.parametrize("options", [("--yes",), ()], ids=["told not to ask", "nobody to ask"])
def test_a_kick_counts_nothing_where_nobody_is_asked(options, wsctl):
    with stub((200, b'{"disconnected":3,"missing":[]}')) as (url, asked):
        result = wsctl("kick", "ann", *options, WSCTL_OPS_URL=url)
    assert (result.returncode, result.stdout) == (0, "closed 3 connections of user ann\n"), result.stderr
    assert [path.rpartition("/")[2] for path, _, _ in asked] == ["disconnect"]


def in_terminal(arguments: list[str], answer: str, url: str) -> tuple[str, int]:
    """Run a command at a terminal, answer once it has asked, and return what it said and its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*WSCTL, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(WSCTL_OPS_URL=url)
    )
    os.close(theirs)
    said = ""
    while True:
        assert select.select([ours], [], [], HANG_S)[0], said
        try:
            said += os.read(ours, 4096).decode()
        except OSError:  # it has ended
            break
        if answer and "[y/N]" in said:
            os.write(ours, answer.encode())
            answer = ""
    os.close(ours)
    return said, process.wait(HANG_S)


def test_the_shell_completes_rooms_of_the_running_server(ops):
    _, run, member = ops()
    member("s", "kitchen")
    words = {"COMP_WORDS": "wsctl publish --room ki", "COMP_CWORD": "3", "_WSCTL_COMPLETE": "complete_bash"}
    assert run(**words).stdout.split() == ["kitchen"]
    assert run(**{**words, "WSCTL_OPS_URL": "http://127.0.0.1:1"}).stdout.split() == []

"""The truth table for others' protocols: npm's Socket.IO and the TypeScript original with one known fault each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from msgspec.structs import replace

from loadtest.dialogue import Dialogue
from loadtest.summary import Verdict
from loadtest.verdicts import summarise
from tests.loadrun import run_loadtest
from tests.loadtest.driving import drive, short_plan
from tests.loadtest.truthtable import COLUMNS, SOME, Row, matches, shown
from tests.seed.test_load_foreign import node, pytestmark  # noqa: F401 - the marks
from wscore.foreign import ProtocolName, ProtocolSettings

SOCKETIO: Final = ProtocolSettings(name=ProtocolName.SOCKETIO)
ASKS: Final = Dialogue(SOCKETIO, ('{"type":"echo","data":1,"id":"{{id}}"}',))
SAYS: Final = Dialogue(replace(SOCKETIO, channel="/{{session}}"), ('{"type":"say","data":"{{stamp}}"}',))
ROOMS: Final = {"kind": "broadcast", "plan": {"sessions": 2, "drain_s": 1.0}}
LONG: Final = {"plan": {"duration_s": 1.0, "drain_s": 2.0}}
FEW: Final = range(10, 12)  # what happens in the ramp, of 50 ms, counts too
ABSENT: Final = {"failed": 2, "errors": 2, "unsent": 50}
DEATH: Final = {"lost": SOME, "lost connections": 4, "died": 1, "unsent": range(1 << 30)}


def row(fault: str, shows: Mapping[str, Any], errors: tuple[str, ...] = (), **fields: Any) -> Row:
    return Row(fault, {}, shows, errors=errors, **fields)


# As in the truth table: 100 requests, or 50 messages in each of two sessions of two; what happens to every tenth.
ALIKE: Final = (
    row("none", {}),
    row("none", {}, **ROOMS),
    row("lose", {"lost": 20}, **ROOMS),
    row("loseFirst", {"lost": 5}, **ROOMS),
    row("double", {"twice": 20}, **ROOMS),
    row("swap", {"out of order": range(16, 21)}, **ROOMS),
    row("misroute", {"lost": 20, "misdelivered": 20}, **ROOMS),
    row("leak", {"misdelivered": 20}, **ROOMS),
    row("deface", {"lost": 20, "corrupt": 20}, **ROOMS),
    row("stall", {"slow": SOME}, **LONG),
    row("die", DEATH, plan={"duration_s": 2.0}),
)
OF_SOCKETIO: Final = (
    row("lose", {"lost": 10}),
    row("double", {"twice": 10}),
    row("delay", {"late": 10}, plan={"reply_timeout_s": 0.2, "drain_s": 1.0}),
    row("misroute", {"lost": 10, "misdelivered": 10}),
    row("wrongId", {"lost": 10, "unknown": 10}),
    row("garble", {"lost": 10, "errors": FEW}, ("no message of socketio",)),
    row("binary", {"lost": 10, "errors": FEW}, ("a binary frame that is none of socketio",)),
    row("refuse", ABSENT, ("HTTP 400",)),
    row("mute", ABSENT, ("no greeting within 0.5 s",), plan={"handshake_timeout_s": 0.5}),
    row("greet", {"errors": 4}, ("the greeting came twice",)),
)
# Its pongs carry no id: one more answers nothing, and one that is late or misses shifts those after it.
OF_THE_SEED: Final = (
    row("lose", {"lost": 10}),
    row("double", {"unknown": 10}),
    row("misroute", {"lost": 10, "unknown": FEW}),
    row("garble", {"lost": 10, "errors": FEW}, ("a text that is not JSON",)),
    row("binary", {"lost": 10, "errors": FEW}, ("a binary frame",)),
    row("refuse", ABSENT, ("HTTP 503",)),
    row("mute", ABSENT, ("no session_created within 0.5 s",), plan={"handshake_timeout_s": 0.5}),
    row("greet", {"errors": 4}, ("session_created came twice",)),
)
QUICK: Final = ("lose", "heartbeat")


def cases() -> Iterator[Any]:
    for kind, rows in (("socketio", OF_SOCKETIO), ("seed", OF_THE_SEED)):
        for told in (*ALIKE, *rows):
            marks = () if (told.fault, told.kind) == QUICK else pytest.mark.slow
            yield pytest.param(kind, told, id=f"{kind}, {told.kind}: {told.fault}", marks=marks)


@pytest.mark.parametrize(("kind", "told"), [*cases()])
def test_a_fault_of_another_server_is_shown_exactly_and_no_other_is(kind: str, told: Row):
    fields: dict[str, Any] = dict(told.plan)
    if kind == "socketio":
        fields["dialogue"] = SAYS if told.kind == "broadcast" else ASKS
    with node(kind, *(() if told.fault == "none" else (told.fault,))) as url:
        plan = short_plan(f"{url}/socket.io/", told.kind, **fields)
        outcome = drive(plan)
    summary = summarise(plan, outcome.measured, outcome.seconds)
    found = shown(summary, outcome.measured.histograms)
    for column in COLUMNS:
        assert matches(told.shows.get(column, 0), found.get(column, 0), {}), (column, found, summary.errors)
    assert tuple(summary.errors) == told.errors
    is_bad = any(column != "slow" for column in told.shows)
    assert summary.verdict in (Verdict.FAILED if is_bad else Verdict.PASSED, Verdict.INVALID), summary.reasons


RAW: Final = """
    from locust import constant, task
    from loadtest import RawUser

    class Echo(RawUser):
        wait_time = constant(0.01)

        def on_start(self):
            self.connect()

        @task
        def burst(self):
            marks = [self.mark() for _ in range(4)]
            for mark in marks:
                self.send(f"<{mark}>")
            for mark in marks:
                self.expect(1, where=lambda message: mark in message, name="burst")

        @task
        def ask(self):
            self.request(f"hello {self.mark()}", 1.0, name="hello")
"""
CHAT: Final = """
    from locust import constant, task
    from loadtest import RawUser

    class Member(RawUser):
        wait_time = constant(0.01)

        def on_start(self):
            self.connect()

        @task
        def say(self):
            for _ in range(4):
                self.send(f"hello {self.mark(shared=True)}")
            self.expect(1)
"""
TOLD: Final = {
    ("echo", None): (),
    ("echo", "lose"): ("lost",),
    ("echo", "double"): ("duplicated",),
    ("echo", "swap"): ("reordered",),
    ("echo", "misroute"): ("lost", "misdelivered"),
    ("echo", "leak"): ("misdelivered",),
    ("echo", "deface"): ("lost", "corrupt"),
    ("echo", "delay"): ("late",),
    ("others", None): (),
    ("others", "double"): ("duplicated",),
    ("others", "swap"): ("reordered",),
}


def own_users(kind: str, fault: str | None) -> Any:
    marks = () if (kind, fault) == ("echo", "double") else pytest.mark.slow
    return pytest.param(kind, fault, id=f"{kind}, {fault or 'none'}", marks=marks)


@pytest.mark.parametrize(("kind", "fault"), [own_users(*case) for case in TOLD])
def test_marks_tell_own_users_what_is_wrong_with_texts_of_any_server(kind, fault, tmp_path):
    scenario = RAW if kind == "echo" else CHAT
    if fault == "delay":  # so that no step of another kind waits for it
        scenario = scenario.replace("@task\n        def burst", "def burst").replace("1.0, name", "0.15, name")
    (tmp_path / "scenario.py").write_text(textwrap.dedent(scenario))
    short = (
        "--connections",
        "3" if kind == "echo" else "2",
        "--ramp",
        "100ms",
        "--duration",
        "1500ms",
        "--drain",
        "600ms",
        "--json",
    )
    with node(kind, *([] if fault is None else [fault])) as url:
        result = run_loadtest(tmp_path, "run", "scenario.py", url, "--protocol", "raw", "--out", "reports", *short)
    summary = result.summary
    assert result.code in (99 if fault else 0, 98), summary["reasons"]
    ledger = summary["ledger"]
    found = {name for name in ledger if name not in ("published", "expected", "received") and ledger[name]}
    if fault == "delay" and ledger["lost"] < ledger["late"]:  # a reply to a user that has left meanwhile is lost
        found.discard("lost")
    assert found == set(TOLD[kind, fault]), (ledger, summary["errors"])
    lost = {name: step["lost"] for name, step in summary["steps"].items() if step["lost"]}
    assert sum(lost.values()) == ledger["lost"] == sum(who["faults"].get("lost", 0) for who in summary["receivers"])
    page = (tmp_path / "reports" / "summary.md").read_text()
    assert ("mark(shared=True) is for what others get" in page) is ("misdelivered" in found)
    for name, count in lost.items():
        assert f"{name} {count} of {summary['steps'][name]['expected']}" in page

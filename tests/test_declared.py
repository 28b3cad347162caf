"""What is declared is used: each message type is sent or handled, each disconnect comes, each metric counts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

from wscore import disconnects
from wscore.disconnects import DISCONNECTS, Disconnect
from wscore.messages import MESSAGES, Owner
from wsserver import Metrics, ServerSettings

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "wsserver/settings.py"


@cache
def walked(file: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(file.read_text("utf-8"))))


def nodes(*places: str, without: str = "") -> Iterator[ast.AST]:
    """Yield every node of the sources in some folders or files."""
    for place in places:
        path = ROOT / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            if file != ROOT / without:
                yield from walked(file)


def texts(*places: str) -> set[object]:
    return {node.value for node in nodes(*places) if isinstance(node, ast.Constant)}


def read_names(tree: Iterator[ast.AST]) -> set[str]:
    """Return the names that are read; to import one is not to read it."""
    return {node.id for node in tree if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def attributes(tree: Iterator[ast.AST], of: str) -> set[str]:
    """Return what is read of whatever has a name that ends so."""
    return {
        node.attr
        for node in tree
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.value, ast.Name | ast.Attribute)
        and (node.value.id if isinstance(node.value, ast.Name) else node.value.attr).endswith(of)
    }


def test_every_message_type_is_sent_or_handled_by_its_owner():
    # `message` is what a bare line is sent as, and the envelope of an error is made by the core.
    places = {Owner.SERVER: ("wsserver", "wscore/envelope.py"), Owner.VOICE: ("wsserver/voice",), Owner.APP: ("cli",)}
    written = {owner: texts(*place) for owner, place in places.items()}
    assert [name for name, spec in MESSAGES.items() if name not in written[spec.owner]] == []


def test_every_disconnect_is_raised_or_handed_to_a_connection():
    rows = {name: row for name, row in vars(disconnects).items() if isinstance(row, Disconnect)}
    assert {row.name for row in rows.values()} == DISCONNECTS.keys()
    tree = ast.parse((ROOT / "wscore/disconnects.py").read_text("utf-8"))
    listed = lambda node: isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "DISCONNECTS"  # noqa: E731
    chosen = (node for statement in tree.body if not listed(statement) for node in ast.walk(statement))
    assert rows.keys() - read_names(nodes("wsserver")) - read_names(chosen) == set()


def test_every_metric_is_counted_where_something_happens():
    counters = {name for name in vars(Metrics()) if not name.startswith("_")}
    assert counters - attributes(nodes("wsserver", without="wsserver/telemetry/metrics.py"), "metrics") == set()


def test_every_setting_is_read_by_what_it_is_for():
    read = attributes(nodes("wsserver", "cli", without="wsserver/settings.py"), "settings")
    (own,) = (
        node
        for node in ast.walk(ast.parse(SETTINGS.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and node.name == "ServerSettings"
    )
    for member in own.body:
        if isinstance(member, ast.FunctionDef) and member.name in read:  # a property that reads it for others
            read |= attributes(ast.walk(member), "self")
    assert {field.name for field in fields(ServerSettings)} - read == set()


def test_every_setting_is_passed_on_by_the_command_or_has_no_option():
    passed = {
        keyword.arg
        for node in nodes("cli")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ServerSettings"
        for keyword in node.keywords
    }
    page = (ROOT / "docs/apps.md").read_text("utf-8")
    without_option = {field.name for field in fields(ServerSettings)} - passed
    assert [name for name in without_option if not re.search(rf"`{name}`", page)] == []


def option_groups() -> Iterator[tuple[str, set[str]]]:
    for node in nodes("cli", "loadtest"):
        if isinstance(node, ast.ClassDef):
            names = {item.target.id for item in node.body if is_field(item)}
            if "TITLE" in names:
                yield node.name, names - {"TITLE"}


def is_field(item: object) -> bool:
    return isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)


def test_every_option_of_a_group_is_read_and_passed_on():
    groups = dict(option_groups())
    assert "LimitOptions" in groups
    read = {node.attr for node in nodes("cli", "loadtest") if isinstance(node, ast.Attribute)}
    assert {name: options - read for name, options in groups.items() if options - read} == {}

"""The house rules that no linter checks: file sizes, docstrings, start-up imports and the list of packages."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
# Walked, not asked of git: a new file counts before it is added, and a copy without a repository is tested too.
SOURCES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if not any(part.startswith(".") or part == "node_modules" for part in path.relative_to(ROOT).parts)
)

MAX_LINES = 400
# Put together here, so that this file does not find itself.
LEFTOVERS = ("TO" + "DO", "FIX" + "ME", "X" * 3)
HEAVY = {
    "textual",
    "locust",
    "gevent",
    "websockets",
    "picows",
    "jwt",
    "rich",
    "uvloop",
    "asyncio",
    "msgspec",
    "pydantic",
}
WALL_CLOCKS = {"time.time", "time.time_ns", "time", "time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
# The message and its payload, and the reasons for it: the protocol's word for both.
TWICE = {"Disconnect": ["wscore/disconnects.py", "wscore/payloads.py"]}
HANG_S = 60


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported_by(*arguments: str) -> set[str]:
    """Return the modules that a fresh interpreter imports when run with these arguments."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd=ROOT,
        env=environment,
        check=True,
    )
    # import time:       163 |        163 |   zipimport
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_no_file_is_longer_than_400_lines():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_every_example_is_shorter_than_120_lines():
    lengths = {path.stem: len(path.read_text("utf-8").splitlines()) for path in ROOT.glob("examples/*/*.py")}
    assert lengths.keys() == {"chat", "dashboard", "game", "shop_django", "shop_fastapi", "shop_celery"}
    assert max(lengths.values()) < 120


def test_every_module_says_in_one_sentence_what_it_is():
    for path in SOURCES:
        docstring = ast.get_docstring(parsed(path))
        assert docstring, f"{path} has no docstring"
        summary = docstring.partition("\n\n")[0]
        assert "\n" not in summary, path
        assert summary.endswith((".", "?", "!")), path


def test_nothing_is_left_for_later():
    texts = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in SOURCES}
    assert not [(path, word) for path, text in texts.items() for word in LEFTOVERS if word in text]


def test_no_package_below_tests_shadows_a_real_one():
    assert not [path for path in SOURCES if path.name == "__init__.py" and path.is_relative_to(ROOT / "tests")]


def test_the_packages_in_pyproject_are_the_directories_that_are_packages():
    assert sorted(PACKAGES) == sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def test_the_import_contracts_and_mypy_cover_every_package():
    assert sorted(PROJECT["tool"]["importlinter"]["root_packages"]) == sorted(PACKAGES)
    assert sorted(PROJECT["tool"]["mypy"]["packages"]) == sorted(PACKAGES)


def test_nobody_speaks_tls_from_two_threads():
    """The client of websockets.sync reads and writes one TLS object at a time: now and then it loses a handshake."""
    opens_tls = re.compile(r"""\bconnect\(\s*f?["']wss://""")
    texts = {path: path.read_text("utf-8") for path in SOURCES}
    assert not [path for path, text in texts.items() if "websockets.sync.client" in text and opens_tls.search(text)]


def loop_variables(tree: ast.AST) -> Iterator[str]:
    """Yield the names that loops and comprehensions give to what they go through."""
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            yield from (name.id for name in ast.walk(node.target) if isinstance(name, ast.Name))


def test_no_loop_variable_is_called_one():
    assert not [path for path in SOURCES if "one" in loop_variables(parsed(path))]


def test_no_two_public_classes_of_the_product_have_the_same_name():
    places = defaultdict(list)
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] in PACKAGES:
            for node in ast.walk(parsed(path)):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == TWICE


def test_the_wall_clock_is_read_in_one_place():
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] in PACKAGES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in WALL_CLOCKS
    }
    assert readers == {"wscore/wallclock.py"}


def test_help_imports_nothing_heavy():
    imported = imported_by("-m", "cli.main", "--help")
    assert "typer" in imported
    assert not imported & HEAVY


def test_the_terminal_client_loads_nothing_that_its_first_frame_does_not_show():
    imported = imported_by("-c", "from cli.main import load_command; load_command('connect'); import cli.terminal")
    assert "wsclient.tui.main_screen" in imported
    assert not imported & {"websockets", "pygments", "pydantic", "jwt", "locust"}
    assert not imported & {"wsclient.tui.widgets.form", "wsclient.tui.widgets.picker"}
    assert not imported & {"wsclient.tui.io.speaking", "wscore.exchange"}
    assert not imported & {"wsclient.client", "wsclient.script", "wsclient.publishing", "wscore.operations"}


@pytest.mark.parametrize("command", ["token", "explain"])
def test_a_command_does_not_import_the_server_or_the_client(command):
    imported = imported_by("-c", f"from cli.main import load_command; load_command({command!r})")
    assert "wscore" in imported
    assert not imported & {"wsserver", "wsclient", "websockets", "picows"}


def test_the_core_imports_no_event_loop_of_its_own():
    statement = "import wscore.envelope, wscore.guest, wscore.reconnect, wscore.heartbeat, wscore.ratelimit"
    imported = imported_by("-c", statement)
    assert "msgspec" in imported
    assert not imported & {"asyncio", "socket", "ssl", "threading", "jwt"}

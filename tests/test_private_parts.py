"""What we use of our dependencies beyond what they document is listed in ADR 0009, and checked here row by row."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest

from tests.pages import ROOT
from tests.private import interfaces, network, others, serving
from tests.private.rows import PARTS, SOURCES, files_with
from wsclient.tui import app, main_screen
from wsclient.tui.actions import parts
from wsclient.tui.widgets import bar, composer, detail, form, panels, picker, stream

CHECKS = (network, interfaces, others, serving)
PAGE = ROOT / "docs" / "adr" / "0009-private-parts.md"
PRIVATE = re.compile("_[^_]")
PYTHONS_OWN = {"_replace", "_exit", "_current_frames"}  # documented, in spite of the underscore
NAMES = {name for part in PARTS for name in part.names}


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_a_private_part_is_still_what_we_count_on(part):
    try:
        part.check()
    except Exception as error:
        places = ", ".join(part.where)
        text = f"{part.what} is used in {places}. We count on this: {part.expected} To mend it: {part.mend}."
        raise AssertionError(text) from error


def test_the_page_lists_each_of_them_and_where_it_is_used():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ") and "](../../" in line]
    true = sorted((part.row for part in PARTS), key=str.casefold)
    assert rows == true, "\n".join(["the rows would be", *true])


def test_every_check_is_a_row():
    checks = {name for module in CHECKS for name in vars(module) if name.startswith("check_")}
    assert {part.check.__name__ for part in PARTS} == checks


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_what_is_listed_is_used(part):
    assert not [name for name in part.names if not files_with(name)]


def test_no_name_with_an_underscore_of_somebody_else_is_used_that_is_not_listed():
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(text) for path, text in SOURCES.items()}
    ours = {name for tree in trees.values() for name in private_names(tree)}
    used = {
        (path, node.attr)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and PRIVATE.match(node.attr) and node.attr not in ours | PYTHONS_OWN
    }
    assert "_push_result_callback" in {name for _, name in used}
    assert not {(path, name) for path, name in used if name not in NAMES}


def test_no_module_with_an_underscore_is_imported():
    assert not [
        (path.name, name)
        for path, text in SOURCES.items()
        for name in re.findall(r"^\s*(?:from|import) (\S*\b_[a-z]\S*)", text, re.MULTILINE)
        if name != "__future__"
    ]


def private_names(tree: ast.AST) -> set[str]:
    """Return the names with an underscore that a source gives to functions, classes, variables and attributes."""
    return {name for name in names_given(tree) if PRIVATE.match(name)}


@cache
def private_names_in(defined: type) -> set[str]:
    return private_names(ast.parse(dedent(inspect.getsource(defined))))


def names_given(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name
        if isinstance(node, ast.Module | ast.ClassDef):  # what a function assigns to is its own
            for statement in node.body:
                targets = (
                    statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
                )
                yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("module", [app, bar, composer, detail, form, main_screen, panels, parts, picker, stream])
def test_no_name_of_our_screens_is_by_accident_one_that_textual_gives_too(module):
    classes = [var for var in vars(module).values() if inspect.isclass(var) and var.__module__ == module.__name__]
    assert classes
    for ours in classes:
        theirs = [base for base in ours.__mro__ if base.__module__.startswith("textual.")]
        given = [private_names_in(item) for item in (ours, *theirs)]
        assert given[0] & set().union(*given[1:]) <= NAMES


@pytest.mark.parametrize(("ours", "theirs"), [("user.py", "user/users.py"), ("users.py", "dispatch.py")])
def test_no_name_of_our_users_is_by_accident_one_that_locust_gives_too(ours, theirs):
    spec = importlib.util.find_spec("locust")  # read, not imported: it patches who imports it
    assert spec is not None
    assert spec.origin is not None
    sources = (ROOT / "loadtest" / "driver" / ours, Path(spec.origin).parent / theirs)
    mine, given = [private_names(ast.parse(path.read_text("utf-8"))) for path in sources]
    assert given
    assert mine & given <= NAMES

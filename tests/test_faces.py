"""The packages' faces: what a public signature mentions can be imported from the same place."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import wsclient
import wsserver
from wsserver import ConnectRequest, Context, Hub

OURS = ("cli", "wsserver", "wsclient", "loadtest", "wscore")
FACES = [wsserver, wsclient]
HANDED = {
    ConnectRequest,
    Context,
    Hub,
}  # an app gets these and never makes one: what makes them is not its business
# What the server's own rooms call: they have connections at hand where an app has ids, and use what an app only sets.
NOT_FOR_APPS = {"JwtKey.payload", "RatePolicy.limiter"}
ALIASES = (types.GenericAlias, types.UnionType)
ERROR_NAME = re.compile(r"\b[A-Z]\w+Error\b")


def public_things(face: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the face's functions and classes, and the public members of the latter."""
    for name in face.__all__:
        thing = getattr(face, name)
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing):
            yield name, thing
            for member, value in vars(thing).items():
                function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
                is_shown = not member.startswith("_") or (member in ("__init__", "__call__") and thing not in HANDED)
                if inspect.isfunction(function) and is_shown and f"{name}.{member}" not in NOT_FOR_APPS:
                    yield f"{name}.{member}", function


def annotations(thing: Any) -> dict[str, object]:
    if inspect.isfunction(thing):
        return thing.__annotations__
    return thing.__annotations__ if issubclass(thing, msgspec.Struct) else {}  # its fields are its signature


def names_in(annotation: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(annotation)) if isinstance(node, ast.Name)}


def is_ours(thing: object) -> bool:
    """Tell whether it is a class of ours, or a name that we gave to others."""
    return isinstance(thing, ALIASES) or (inspect.isclass(thing) and thing.__module__.partition(".")[0] in OURS)


def mentioned(thing: Any) -> Iterator[tuple[str, object]]:
    """Yield what of ours a signature names, and the classes of its defaults."""
    scope = vars(sys.modules[thing.__module__]) | vars(typing)
    for annotation in map(str, annotations(thing).values()):  # dataclasses write None as itself
        for name in names_in(annotation):
            found = scope.get(name, getattr(builtins, name, None))
            assert found is not None, f"{name} is imported for type checkers only"
            if is_ours(found):
                yield name, found
    if inspect.isfunction(thing):
        for parameter in inspect.signature(thing).parameters.values():
            if is_ours(type(parameter.default)):
                yield type(parameter.default).__name__, type(parameter.default)


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_a_face_exports_all_that_its_public_signatures_mention(face):
    missing = {
        f"{name} in {where}"
        for where, thing in public_things(face)
        for name, found in mentioned(thing)
        if name not in face.__all__ or getattr(face, name) != found
    }
    assert not missing, "\n".join(sorted(missing))


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_a_face_exports_every_error_that_its_docstrings_say_is_raised(face):
    missing = {
        f"{error} in {where}"
        for where, thing in public_things(face)
        for error in ERROR_NAME.findall(thing.__doc__ or "")
        if error not in face.__all__ and not hasattr(builtins, error)
    }
    assert not missing, "\n".join(sorted(missing))


def test_every_name_of_the_client_is_found_where_type_checkers_find_it():
    """What is imported when it is asked for stands twice: once for them, once for the one that asks."""
    source = ast.parse(inspect.getsource(wsclient))
    (for_checkers,) = (node for node in source.body if isinstance(node, ast.If))
    homes = {
        alias.name: node.module
        for node in for_checkers.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(homes) == wsclient.__all__ == dir(wsclient)
    assert homes == wsclient._HOME_OF
    with pytest.raises(AttributeError, match="has no attribute 'Clint'"):
        wsclient.Clint  # noqa: B018


def test_what_is_not_for_apps_is_there():
    members = {f"{name}.{member}" for name in wsserver.__all__ for member in dir(getattr(wsserver, name))}
    assert members >= NOT_FOR_APPS

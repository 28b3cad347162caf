"""Finds the app that `wsctl serve MODULE:NAME` or `wsctl explain --app` names."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from types import ModuleType
from typing import Any

from cli.yielding import yield_names
from wscore.errors import ConfigError, WsctlError
from wsserver import App


def load_app(path: str, place: str = "APP") -> App:
    """Import the module, looked up from the current directory first, and return its app, or what makes it returns.

    Its own packages win over ours of the same name. `place` is what names it.

    Raises ConfigError with the place for anything that goes wrong on the way.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise ConfigError(place, f"{path!r} is not MODULE:NAME", "write it as mypkg.mymod:app")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    yield_names()
    module = _import(module_name, place)
    app = getattr(module, name, None)
    if isinstance(app, App):
        return app
    if _is_factory(app):
        return _made(path, app, place)
    problem = f"{module_name} has no {name!r}" if app is None else f"{path} is not an App"
    raise ConfigError(place, problem, f"define `{name} = App()` there, with `from wsserver import App`")


def _is_factory(thing: Any) -> bool:
    """Tell whether it can be called as it is."""
    try:
        inspect.signature(thing).bind()
    except (TypeError, ValueError):
        return False
    return True


def _made(path: str, factory: Any, place: str) -> App:
    """Call a function for its app."""
    try:
        app = factory()
    except WsctlError:
        raise
    except Exception as error:  # whatever the user's function raises
        raise ConfigError(place, _where(error)) from None
    if not isinstance(app, App):
        raise ConfigError(place, f"{path}() returns no App but {type(app).__name__}", "let it return an App")
    return app


def _import(module_name: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except WsctlError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            mend = "run the command where the module is, or install it"
            raise ConfigError(place, f"there is no module {module_name!r}", mend) from None
        raise ConfigError(place, _where(error)) from None
    except Exception as error:  # whatever the user's module raises while it is imported
        raise ConfigError(place, _where(error)) from None


def _where(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"

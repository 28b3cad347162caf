"""Lets a user's packages have their names though ours have them too, see docs/adr/0003-generic-module-names.md.

`cli`, `loadtest` and `wsclient` are names that a project may well have. An app that imports its own gets its own; what
of ours is loaded goes on working, and what is loaded later still finds ours.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, Final

# Not `wsserver` and `wscore`: an app is written with them.
_GENERIC: Final = ("cli", "loadtest", "wsclient")
_ROOT: Final = Path(__file__).parents[1]
_OURS: Final = tuple(f"{_ROOT / name}/" for name in (*_GENERIC, "wsserver", "wscore"))


def yield_names() -> None:
    """Give up those of our names that are a package or a module of somebody else on the path, for everybody but us."""
    yielded = tuple(name for name in _GENERIC if _find_theirs(name) is not None)
    if yielded:
        sys.meta_path.insert(0, _Finder(yielded))
        builtins.__import__ = _Import(yielded)


def _find_theirs(name: str) -> ModuleSpec | None:
    """Find a module by its name anywhere but in the directory of our own: a mere directory counts too."""
    ours = _ROOT.resolve()
    return PathFinder.find_spec(name, [entry for entry in sys.path if Path(entry or ".").resolve() != ours])


class _Finder:
    """Finds the top-level modules of these names: ours while one of ours imports, else theirs."""

    def __init__(self, yielded: Sequence[str]) -> None:
        self._yielded = yielded

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one; the modules in it are found as ever, by its path."""
        if name not in self._yielded:
            return None
        return PathFinder.find_spec(name, [str(_ROOT)]) if _Import.is_for_us else _find_theirs(name)


class _Import:
    """`__import__` by who imports: our own modules see ours under the names that were given up, all others theirs.

    The two change places in `sys.modules` while one of ours imports, which after the start is next to never.
    """

    is_for_us = False

    def __init__(self, yielded: Sequence[str]) -> None:
        self._yielded = yielded
        self._import = builtins.__import__
        self._lock = RLock()
        self._kept = self._take()

    def __call__(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as the built-in function does."""
        if self.is_for_us or not self._concerns_us(name, globals, level):
            return self._import(name, globals, locals, fromlist or (), level)
        with self._lock:
            theirs = self._take()
            sys.modules.update(self._kept)
            _Import.is_for_us = True
            try:
                return self._import(name, globals, locals, fromlist or (), level)
            finally:
                _Import.is_for_us = False
                self._kept = self._take()
                sys.modules.update(theirs)

    def _concerns_us(self, name: str, globals: Mapping[str, Any] | None, level: int) -> bool:
        return (
            level == 0
            and name.partition(".")[0] in self._yielded
            and globals is not None
            and str(globals.get("__file__")).startswith(_OURS)
        )

    def _take(self) -> dict[str, ModuleType]:
        taken = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in self._yielded}
        for name in taken:
            del sys.modules[name]
        return taken

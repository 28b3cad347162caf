"""Options of a connection in a saved profile and in the connect form: how they are written, and who takes them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from cli.options.protocol import SAVED_FIELDS
from wscore.errors import ConfigError
from wscore.units import parse_duration_ms, parse_size_bytes

G = TypeVar("G", bound=Struct)


class SavedKind(Enum):
    """How a value is written."""

    TEXT = "text"
    TEXTS = "a list of texts"
    USER = "the name of a user, without a password"
    FILE = "the name of a file"
    SWITCH = "true or false"
    DURATION = 'a duration such as "20s"'
    SIZE = 'a size such as "16MiB"'


# A password and a header's secret belong into files of their own; who writes one here all the same knows the file.
DIAL_KINDS: Final = {
    "header": SavedKind.TEXTS,
    "user": SavedKind.USER,
    "user-file": SavedKind.FILE,
    "cookie": SavedKind.TEXTS,
    "origin": SavedKind.TEXT,
    "subprotocol": SavedKind.TEXTS,
    "ca": SavedKind.FILE,
    "insecure": SavedKind.SWITCH,
    "cert": SavedKind.FILE,
    "key": SavedKind.FILE,
    "proxy": SavedKind.TEXT,
    "handshake-timeout": SavedKind.DURATION,
    "ping-interval": SavedKind.DURATION,
    "ping-timeout": SavedKind.DURATION,
    "max-size": SavedKind.SIZE,
}
_KINDS: Final = DIAL_KINDS | {
    key: {"on-open": SavedKind.TEXTS, "heartbeat-every": SavedKind.DURATION}.get(key, SavedKind.TEXT)
    for key in SAVED_FIELDS
}
_READERS: Final[dict[SavedKind, Callable[[Any], Any]]] = {
    SavedKind.FILE: Path,
    SavedKind.DURATION: parse_duration_ms,
    SavedKind.SIZE: parse_size_bytes,
}


def check_saved(place: str, key: str, value: object) -> None:
    """Raise ConfigError naming `place` for a value that is not written as its kind is."""
    kind = _KINDS[key]
    if kind is SavedKind.SWITCH:
        fits = isinstance(value, bool)
    elif kind is SavedKind.TEXTS:
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    else:
        fits = isinstance(value, str) and not (kind is SavedKind.USER and ":" in value)
    if not fits:
        raise ConfigError(place, f"is not {kind.value}")
    try:
        _read(kind, value)
    except ValueError as error:
        raise ConfigError(place, str(error)) from None


def with_saved(group: G, dials: Mapping[str, Any]) -> G:
    """Return a group of options with what is saved in place of what nobody gave."""
    found = {}
    has_user = any(getattr(group, name, None) is not None for name in ("user", "user_file"))
    for name in group.__struct_fields__:
        key = name.replace("_", "-")
        if has_user and key in ("user", "user-file"):  # one stands for the other
            continue
        if key in dials and getattr(group, name) in (None, False):
            found[name] = _read(DIAL_KINDS[key], dials[key])
    return replace(group, **found)


def read_options(text: str) -> dict[str, Any]:
    """Return what options written as on the command line would be in a profile; raises ConfigError."""
    found: dict[str, Any] = {}
    try:
        words = shlex.split(text)
    except ValueError:
        raise ConfigError("options", "have a quotation mark without its other one") from None
    while words:
        name, separator, value = words.pop(0).partition("=")
        key = "header" if name == "-H" else name.removeprefix("--")
        if key not in _KINDS or (key != "header" and not name.startswith("--")):
            raise ConfigError(f"options {name}", "there is no such option", f"there are --{', --'.join(_KINDS)}")
        kind = _KINDS[key]
        if kind is SavedKind.SWITCH:
            found[key] = True
            continue
        if not separator and not words:
            raise ConfigError(f"options {name}", "has no value")
        if not separator:
            value = words.pop(0)
        if kind is SavedKind.TEXTS:
            found.setdefault(key, []).append(value)
        else:
            found[key] = value
        check_saved(f"options {name}", key, found[key])
    return found


def written(dials: Mapping[str, Any]) -> str:
    """Return options of a profile as they would be on the command line."""
    words: list[str] = []
    for key, value in dials.items():
        if isinstance(value, bool):
            words += [f"--{key}"] if value else []
            continue
        for item in value if isinstance(value, list) else [value]:
            words += [f"--{key}", str(item)]
    return shlex.join(words)


def _read(kind: SavedKind, value: Any) -> Any:
    return _READERS[kind](value) if kind in _READERS else value

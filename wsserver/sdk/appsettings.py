"""Settings of an app's own: a dataclass or a Struct that names them, and values that nobody shall see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
import msgspec.inspect

from wscore.errors import ConfigError

_HIDDEN: Final = "***"


class Secret:
    """A text that is not shown, as the type of a setting: `reveal` returns it, everything else prints `***`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return _HIDDEN

    def reveal(self) -> str:
        """Return the text."""
        return self._text


def setting_fields(kind: type) -> tuple[msgspec.inspect.Field, ...]:
    """Return the settings that a class names; raises ConfigError for one that is no dataclass and no Struct."""
    try:
        info = msgspec.inspect.type_info(kind)
    except TypeError as error:
        raise ConfigError("App(settings=)", str(error)) from None
    if not isinstance(info, (msgspec.inspect.StructType, msgspec.inspect.DataclassType)):
        raise ConfigError("App(settings=)", f"{kind!r} names no settings", "use a dataclass or a msgspec.Struct")
    return info.fields


def settings_of(kinds: Iterable[type], given: Iterable[object]) -> list[object]:
    """Return an object of each class: the given one, else one of its defaults; raises ConfigError without some."""
    by_type: dict[type, object] = {type(value): value for value in given}
    return [by_type[kind] if kind in by_type else _by_default(kind) for kind in kinds]


def _by_default(kind: Any) -> object:
    if missing := [field.name for field in setting_fields(kind) if field.required]:
        names = ", ".join(missing)
        raise ConfigError("APP", f"its settings need {names}", "set it in [app] of wsctl.toml, or as WSCTL_APP_NAME")
    made: object = kind()
    return made

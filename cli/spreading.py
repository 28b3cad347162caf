"""Options that several commands share, or that are many, as a group: each field of a Struct becomes an option.

A group that has a `TITLE` stands by itself in `--help`, see `cli.grouped`. A field that is a group itself becomes
the options of that one, under the same title unless it has one too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import copy
from functools import cache, wraps
from typing import Annotated, Any, get_type_hints

from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields
from typer.models import OptionInfo

Convert = Callable[[Any], Any]


class OptionGroup(Struct, frozen=True, kw_only=True):
    """A group of options; some of them are secrets, so its repr has no values."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


def spread(function: Callable[..., None], convert: Convert = lambda hint: hint) -> Callable[..., None]:
    """Give a command an option for each field of the groups among its parameters.

    `convert` turns a field's type hint into one that the command line understands.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if _is_group(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            parameters += _parameters(groups[name], convert, None)
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    @wraps(function)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = _gathered(group, values)
        function(**values)

    # An argument of the command line may stand after options; a parameter of Python may not.
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    command.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameters(group: Any, convert: Convert, title: str | None) -> Iterator[inspect.Parameter]:
    title = getattr(group, "TITLE", title)
    for field in _fields(group):
        hint = field.type
        if _is_group(hint):
            yield from _parameters(hint, convert, title)
        else:
            yield _parameter(field, convert(hint), title)


def _gathered(group: Any, values: dict[str, Any]) -> Any:
    """Return the group with its values, which are taken out of `values`."""
    made = {
        field.name: _gathered(field.type, values) if _is_group(field.type) else values.pop(field.name)
        for field in _fields(group)
    }
    return group(**made)


def _is_group(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Struct)


@cache
def _fields(group: type[Struct]) -> tuple[FieldInfo, ...]:
    return fields(group)


def _parameter(field: FieldInfo, hint: Any, title: str | None) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is NODEFAULT else field.default
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_titled(hint, title)
    )


def _titled(hint: Any, title: str | None) -> Any:
    """Return the hint with an option in the group of that title; it may be in another group of another command."""
    (option,) = (part for part in hint.__metadata__ if isinstance(part, OptionInfo))
    option = copy(option)
    option.rich_help_panel = title
    return Annotated[hint.__origin__, option]

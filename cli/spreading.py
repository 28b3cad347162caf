"""Options that several commands share, or that are many, as dataclasses: each field becomes an option.

A dataclass that has a `TITLE` makes a group of its own in `--help`, see `GroupedCommand`. A field that is a dataclass
itself becomes the options of that one, in the same group unless it has a title too.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

from typer import BadParameter
from typer.core import TyperCommand, TyperOption
from typer.models import OptionInfo

from cli.origins import prefer

Convert = Callable[[Any], Any]


def spread(function: Callable[..., None], convert: Convert = lambda hint: hint) -> Callable[..., None]:
    """Give a command an option for each field of the dataclasses among its parameters.

    `convert` turns a field's type hint into one that the command line understands.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
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
    for field, hint in _hinted(group):
        if is_dataclass(hint):
            yield from _parameters(hint, convert, title)
        else:
            yield _parameter(field, convert(hint), title)


def _gathered(group: Any, values: dict[str, Any]) -> Any:
    """Return the dataclass with its values, which are taken out of `values`."""
    made = {
        field.name: _gathered(hint, values) if is_dataclass(hint) else values.pop(field.name)
        for field, hint in _hinted(group)
    }
    return group(**made)


def _hinted(group: Any) -> Iterator[tuple[Field[Any], Any]]:
    hints = get_type_hints(group, include_extras=True)
    return ((field, hints[field.name]) for field in fields(group))


def _parameter(field: Field[Any], hint: Any, title: str | None) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_titled(hint, title)
    )


def _titled(hint: Any, title: str | None) -> Any:
    """Return the hint with an option in the group of that title; it may be in another group of another command."""
    (option,) = (part for part in hint.__metadata__ if isinstance(part, OptionInfo))
    option = copy(option)
    option.rich_help_panel = title
    return Annotated[hint.__origin__, option]


class GroupedCommand(TyperCommand):
    """A command whose `--help` shows its options by group, those of no group last; its flags win over the file."""

    def invoke(self, ctx: Any) -> Any:
        """Run it, without what a stronger source took the place of; raises BadParameter for NaN and infinity.

        No range keeps NaN out, since it is neither less nor more than anything.
        """
        prefer(ctx)
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise BadParameter(f"{value} is not a finite number", ctx=ctx, param=parameter)
        return super().invoke(ctx)

    def groups(self, ctx: Any) -> dict[str, list[TyperOption]]:
        """Return the options by the title of their group, in the order of `--help`."""
        titled: dict[str, list[TyperOption]] = {}
        untitled: list[TyperOption] = []
        for parameter in self.get_params(ctx):
            if isinstance(parameter, TyperOption):
                title = parameter.rich_help_panel
                (untitled if title is None else titled.setdefault(str(title), [])).append(parameter)
        return {**titled, "Other options" if titled else "Options": untitled}

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group under its title."""
        arguments: list[Any] = [param for param in self.get_params(ctx) if not isinstance(param, TyperOption)]
        for title, parameters in [("Arguments", arguments), *self.groups(ctx).items()]:
            rows = [row for parameter in parameters if (row := parameter.get_help_record(ctx)) is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

"""Options that several commands share, or that are many, as dataclasses: each field becomes an option.

A dataclass that has a `TITLE` makes a group of its own in `--help`, see `GroupedCommand`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

from typer import BadParameter
from typer.core import TyperCommand, TyperOption
from typer.models import OptionInfo

from cli.origins import prefer


def spread(function: Callable[..., None], convert: Callable[[Any], Any] = lambda hint: hint) -> Callable[..., None]:
    """Give a command an option for each field of the dataclasses among its parameters.

    `convert` turns a field's type hint into one that the command line understands.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            group_hints = get_type_hints(groups[name], include_extras=True)
            title = getattr(groups[name], "TITLE", None)
            parameters += [_parameter(field, convert(group_hints[field.name]), title) for field in fields(groups[name])]
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    @wraps(function)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        function(**values)

    # An argument of the command line may stand after options; a parameter of Python may not.
    keyword_only = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    command.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _parameter(field: Field[Any], hint: Any, title: str | None) -> inspect.Parameter:
    for info in getattr(hint, "__metadata__", ()):
        if isinstance(info, OptionInfo):
            info.rich_help_panel = title
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


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

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group under its title."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        ungrouped: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is None:
                continue
            if not isinstance(parameter, TyperOption):
                sections["Arguments"].append(row)
            elif parameter.rich_help_panel is None:
                ungrouped.append(row)
            else:
                sections.setdefault(str(parameter.rich_help_panel), []).append(row)
        for title, rows in {**sections, "Other options" if len(sections) > 1 else "Options": ungrouped}.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

"""A command whose `--help` shows its options by group."""

from __future__ import annotations

import math
from typing import Any

from typer import BadParameter
from typer.core import TyperCommand, TyperOption

from cli.origins import prefer


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

"""The option that names an app beside a command's own subject."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from cli.spreading import OptionGroup


class AppOptions(OptionGroup, frozen=True, kw_only=True):
    """Which app is looked at."""

    TITLE: ClassVar = "App"

    app: Annotated[
        str | None,
        typer.Option(metavar="APP", help="Know the types and error codes of this app too, as MODULE:NAME."),
    ] = None

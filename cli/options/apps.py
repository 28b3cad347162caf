"""The option that names an app beside a command's own subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOptions:
    """Which app is looked at."""

    TITLE: ClassVar = "App"

    app: Annotated[
        str | None,
        typer.Option(metavar="APP", help="Know the types and error codes of this app too, as MODULE:NAME."),
    ] = None

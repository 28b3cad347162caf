"""The options of `wsctl top`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from cli.options.output import Theme
from cli.settings import duration_option
from cli.spreading import OptionGroup
from wscore.errors import ConfigError

SHORTEST_MS = 200  # oftener the server would feel it, and nobody could read it


class TopOptions(OptionGroup, frozen=True, kw_only=True):
    """How it looks, and how often it asks."""

    TITLE: ClassVar = "View"

    interval: Annotated[int, duration_option("How often it asks.", show_default="2s")] = 2000
    theme: Theme = None

    def interval_s(self) -> float:
        """Return the interval in seconds; raises ConfigError for one that is too short."""
        if self.interval < SHORTEST_MS:
            raise ConfigError("--interval", "is too short", f"{SHORTEST_MS}ms is the shortest")
        return self.interval / 1000

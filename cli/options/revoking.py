"""The options of `wsctl revoke`: which tokens, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar

import typer

from cli.options.operator import Yes
from cli.options.tokens import Jti
from cli.settings import duration_option
from cli.spreading import OptionGroup
from wscore.errors import ConfigError
from wscore.units import parse_duration_ms


class RevokeOptions(OptionGroup, frozen=True, kw_only=True):
    """Which tokens are revoked."""

    TITLE: ClassVar = "Which tokens"

    jti: Jti = None
    issued_before: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only those issued before: now, 2h (ago), or 2026-11-27T09:30:00Z."),
    ] = None
    keep: Annotated[
        int | None, duration_option("How long: at least until the last of them expires.", show_default="30d")
    ] = None
    yes: Yes = False

    def issued_before_ms(self, now_ms: int) -> int | None:
        """Return that moment, in ms since the epoch; raises ConfigError."""
        if self.issued_before is None or self.issued_before == "now":
            return None if self.issued_before is None else now_ms
        try:
            return now_ms - parse_duration_ms(self.issued_before)
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(self.issued_before)
        except ValueError:
            mend = "write now, 2h for two hours ago, or 2026-11-27T09:30:00Z"
            raise ConfigError("--issued-before", f"{self.issued_before!r} is no time", mend) from None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)

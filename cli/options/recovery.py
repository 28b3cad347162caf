"""The options of `wsctl serve` on what is kept for clients that come back."""

from __future__ import annotations

from typing import Annotated, ClassVar

import typer

from cli.settings import duration_option, size_option
from cli.spreading import OptionGroup
from wscore.recovery import DEFAULT_AGE_S, DEFAULT_MEMORY, DEFAULT_MESSAGES, RecoveryLimits


class RecoveryOptions(OptionGroup, frozen=True, kw_only=True):
    """What is kept of each session and room for clients that come back; a 0 turns it off."""

    TITLE: ClassVar = "Recovery"

    recovery_messages: Annotated[
        int, typer.Option(min=0, metavar="N", help="Last messages of a session or a room to keep; 0: none.")
    ] = DEFAULT_MESSAGES
    recovery_size: Annotated[
        int | None,
        size_option("Bytes of these; 0B: none.", show_default="512KiB, or half of what may wait for a client"),
    ] = None
    recovery_age: Annotated[int, duration_option("How long they are kept; 0s: not at all.", show_default="2m")] = round(
        DEFAULT_AGE_S * 1000
    )
    recovery_memory: Annotated[int, size_option("Bytes kept in all; 0B: none.", show_default="64MiB")] = DEFAULT_MEMORY

    def limits(self, outbound_per_connection: int) -> RecoveryLimits:
        """Return the limits, given how many bytes may wait for one client; raises ConfigError."""
        return RecoveryLimits.chosen(
            outbound_per_connection,
            messages=self.recovery_messages,
            size=self.recovery_size,
            age_s=self.recovery_age / 1000,
            memory=self.recovery_memory,
        )

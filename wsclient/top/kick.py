"""Asks whether to close a connection, or all of its user: No is what a key pressed too fast chooses."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from wscore.operations import ConnectionRow
from wscore.text import neutralise
from wscore.units import format_age


class Whom(Enum):
    """Whom to disconnect."""

    NOBODY = "no"
    CONNECTION = "connection"
    USER = "user"


class KickQuestion(ModalScreen[Whom]):
    """Shows whose connection it is, and returns what was chosen."""

    DEFAULT_CSS = """
    KickQuestion { align: center middle; }
    KickQuestion > Vertical { width: 64; max-width: 100%; height: auto; border: round $warning; padding: 1 2; }
    KickQuestion Static { height: auto; margin-bottom: 1; }
    KickQuestion Horizontal { height: auto; align-horizontal: right; }
    KickQuestion Button { margin-left: 1; min-width: 8; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "choose('no')", "No"),
        Binding("y", "choose('connection')", "This connection"),
        Binding("u", "choose('user')", "All of the user"),
    ]

    def __init__(self, row: ConnectionRow, now_ms: int) -> None:
        super().__init__()
        self._row = row
        self._now_ms = now_ms

    def compose(self) -> ComposeResult:
        """Show who it is, and the choices."""
        row = self._row
        kind = "guest " if row.is_guest else "user "
        age = format_age(self._now_ms - row.opened_at)
        lines = (
            "Close this connection? It is told 4004, after which well-behaved clients stay away.",
            f"{kind}{neutralise(row.user)}",
            f"from {neutralise(row.address or 'an unknown address')}, open for {age}",
            f"session {neutralise(row.session)}",
            f"connection {neutralise(row.id)}",
        )
        with Vertical():
            yield Static("\n".join(lines), markup=False)
            with Horizontal():
                yield Button("(n) No", id="no")
                yield Button("(y) Close it", id="connection", variant="warning")
                yield Button("(u) All of this user", id="user", variant="error")

    def on_mount(self) -> None:
        """Begin at No."""
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take a button."""
        self.dismiss(Whom(event.button.id))

    def action_choose(self, kick: str) -> None:
        """Take a key."""
        self.dismiss(Whom(kick))

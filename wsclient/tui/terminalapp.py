"""What every app of wsctl that fills a terminal does: keys in their order, no wait for the terminal, no traceback."""

from __future__ import annotations

from typing import Any

from textual.driver import Driver

from wsclient.tui.io.unhurried import unhurried
from wsclient.tui.keyboard import OrderedKeys
from wscore.errors import WsctlError


class TerminalGoneError(WsctlError):
    """The terminal in which the app ran is no more."""

    def __str__(self) -> str:
        return "the terminal is gone"


class TerminalApp(OrderedKeys):
    """An app that ends when its terminal is gone; `fault` says why it ended."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._has_no_terminal = False

    def get_driver_class(self) -> type[Driver]:
        """Return the driver of this system, made so that it never waits for the terminal."""
        return unhurried(
            super().get_driver_class(),
            lambda: self.call_later(self.refresh, layout=True),
            lambda: self.call_later(self._leave_terminal),
        )

    @property
    def fault(self) -> Exception | None:
        """The exception that ended the app, if one did."""
        return TerminalGoneError() if self._has_no_terminal else self._exception

    def _leave_terminal(self) -> None:
        self._has_no_terminal = True
        self.exit()

    def _fatal_error(self) -> None:
        # Textual would print a traceback with the values of all variables, tokens among them.
        self._close_messages_no_wait()

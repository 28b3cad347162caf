"""The handshake of the connection, or of the last try: request, answer, TLS, and what went wrong."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from wsclient.handshake import Handshake, LineMark
from wsclient.tui.model.health import Health
from wsclient.tui.widgets.panels import Panel

_STYLES: Final = {LineMark.FACT: "$text-muted", LineMark.REQUEST: "$text-accent", LineMark.RESPONSE: "$text"}


class HandshakePanel(VerticalScroll, Panel, can_focus=True):
    """Shows it as `wsctl connect -v` tells it; what failed stands first."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "screen.to_stream", "Back", show=False)]
    DEFAULT_CSS = """
    HandshakePanel { max-height: 50%; }
    HandshakePanel > Static { width: 1fr; height: auto; }
    """

    def __init__(self, health: Health, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._health = health
        self._words = Static(markup=False, id="handshake-words")
        self._drawn: tuple[Handshake, ...] | None = None

    def on_mount(self) -> None:
        """Take the words in once the screen is to be seen, which is sooner without them."""
        self.call_after_refresh(self.mount, self._words)

    def draw(self) -> None:
        """Draw it anew, if there was another one: whoever scrolls stays where they are."""
        hops = tuple(self._health.handshakes)
        if hops == self._drawn:
            return
        self._drawn = hops
        lines = [line for hop in hops for line in hop.lines()]
        if hops and hops[-1].problem is not None:
            lines.insert(0, lines.pop())
        parts = [(f"{mark} {text}\n", _STYLES[mark]) for mark, text in lines]
        self._words.update(Content.assemble(*parts) if parts else Content("no connection was tried yet"))

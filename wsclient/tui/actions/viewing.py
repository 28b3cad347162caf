"""What is shown: filter, search, pause, errors, heartbeats, clearing, panels."""

from __future__ import annotations

from wsclient.filters import FilterError, MessageFilter
from wsclient.tui.actions.parts import MainScreenParts


class ViewingActions(MainScreenParts):
    """What is shown: filter, search, pause, errors, heartbeats, clearing, panels."""

    def action_filter(self) -> None:
        """Ask for a filter."""
        self._bar.ask("filter", str(self._choice.filter), self._set_filter)

    def action_search(self) -> None:
        """Ask for what to search."""
        self._bar.ask("search", str(self._choice.search), self._set_search)

    def action_search_next(self, step: int) -> None:
        """Go to the next match."""
        if self._choice.search.is_empty or not len(self._view):
            return
        start = (self.stream.cursor_position() + step) % len(self._view)
        found = self._view.find(self._choice.is_found, start, step)
        if found is None:
            self._say(f"no match for {self._choice.search}", "warning")
        else:
            self.stream.go_to(found)

    def action_pause(self) -> None:
        """Stop or go on; what came meanwhile is shown then."""
        self._view.is_frozen = not self._view.is_frozen
        self._draw()
        self._show_status()

    def action_errors(self) -> None:
        """Show errors only, or everything."""
        self._choice.errors_only = not self._choice.errors_only
        self._choose_anew()

    def action_heartbeats(self) -> None:
        """Show or hide pings and pongs."""
        self._choice.heartbeats = not self._choice.heartbeats
        self._choose_anew()

    def action_clear(self) -> None:
        """Leave out everything that came so far."""
        self._choice.cleared_before = self._ring.count
        self._choose_anew()

    def action_detail(self) -> None:
        """Show or hide the detail."""
        self.toggle_class("-detail")
        self.detail.show(self.stream.selected)

    def action_panel(self, name: str) -> None:
        """Show or hide a panel."""
        self._panels[name].toggle()

    def _set_filter(self, text: str) -> str | None:
        try:
            self._choice.filter = MessageFilter.parse(text)
        except FilterError as error:
            return str(error)
        self._choose_anew()
        return None

    def _set_search(self, text: str) -> str | None:
        try:
            self._choice.search = MessageFilter.parse(text)
        except FilterError as error:
            return str(error)
        self.action_search_next(-1)
        return None

    def _choose_anew(self) -> None:
        self._view.change(self._choice.passes)
        self.stream.show_anew()
        self._draw()
        self._show_status()

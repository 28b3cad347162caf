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
        """Ask for what to search, in the selected message while the detail has the focus."""
        if self.detail.has_focus:
            self._asked_from_detail = True
            self._bar.ask("search in this message", str(self.detail.search), self._set_detail_search)
        else:
            self._bar.ask("search", str(self._choice.search), self._set_search)

    def action_search_next(self, step: int) -> None:
        """Go to the next match."""
        if self.detail.has_focus:
            self.detail.go_on(step)
            self._show_status()
            return
        if self._choice.search.is_empty:
            return
        self._matches.catch_up()
        selected = self.stream.selected
        found = self._matches.next(None if selected is None else selected.number, step)
        if found is None:
            self._say(f"no match for {self._choice.search}", "warning")
        else:
            self.stream.go_to(self._view.position(found))
        self._show_status()

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
        found = self._choice.search
        self.stream.marks = found
        self._matches.search(None if found.is_empty else self._choice.is_found)
        self._matches.catch_up()
        if not found.is_empty and self._matches.place(self.stream.cursor_number) is None:
            self.action_search_next(-1)
        self.stream.refresh()
        self._show_status()
        return None

    def _set_detail_search(self, text: str) -> str | None:
        try:
            self.detail.search = MessageFilter.parse(text)
        except FilterError as error:
            return str(error)
        self.detail.go_on(1)
        self._show_status()
        return None

    def _choose_anew(self) -> None:
        self._view.change(self._choice.passes)
        self._matches.search(None if self._choice.search.is_empty else self._choice.is_found)
        self.stream.show_anew()
        self._draw()
        self._show_status()

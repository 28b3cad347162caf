"""What is done with the selected message: copy it, send it again."""

from __future__ import annotations

from wsclient.tui.actions.parts import MainScreenParts
from wsclient.tui.io.editing import send_line
from wsclient.tui.model.history import Draft
from wsclient.tui.model.jsontext import is_json, readable


class SelectedActions(MainScreenParts):
    """What is done with the selected message: copy it, send it again."""

    def action_copy_json(self) -> None:
        """Copy the selected message."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            self.app.copy_to_clipboard(entry.record.text)
            self._say("copied as JSON")

    def action_copy_send(self) -> None:
        """Copy a command that sends the selected message."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            self.app.copy_to_clipboard(send_line(entry.record.text))
            self._say("copied as a --send line")

    def action_edit_again(self) -> None:
        """Put the selected message into the composer."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            text = entry.record.text
            self.composer.draft = Draft(entry.type or "message", readable(text) if is_json(text) else text)
            self.composer.focus_data()

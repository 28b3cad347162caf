"""What is done with the selected message: copy it, send it again."""

from __future__ import annotations

import asyncio

from wsclient.tui.actions.parts import MainScreenParts
from wsclient.tui.io.clipboard import copy
from wsclient.tui.io.editing import send_line
from wsclient.tui.model.history import Draft
from wsclient.tui.model.jsontext import is_json, readable


class SelectedActions(MainScreenParts):
    """What is done with the selected message: copy it, send it again."""

    def action_copy_json(self) -> None:
        """Copy the selected message."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            self._copy(entry.record.text, "as it is")

    def action_copy_send(self) -> None:
        """Copy a command that sends the selected message."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            self._copy(send_line(entry.record.text), "as a --send line")

    def action_edit_again(self) -> None:
        """Put the selected message into the composer."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            text = entry.record.text
            self.composer.draft = Draft(entry.type or "message", readable(text) if is_json(text) else text)
            self.composer.focus_data()

    def _copy(self, text: str, how: str) -> None:
        self.app.copy_to_clipboard(text)  # asks the terminal (OSC 52), which does not answer

        async def by_program() -> None:
            program = await asyncio.to_thread(copy, text)
            if program is not None:
                self._say(f"copied {how}, by {program}")
            else:
                problem = (
                    "the terminal was asked to copy it, and may not have: there is no wl-copy, xclip, xsel or pbcopy"
                )
                self._say(problem, "warning")

        self.run_worker(by_program())

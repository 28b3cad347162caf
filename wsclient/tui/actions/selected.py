"""What is done with the selected message: copy it, send it again, keep a value of it."""

from __future__ import annotations

import asyncio

from wsclient.recording import Record
from wsclient.templates import parse_capture
from wsclient.tui.actions.parts import MainScreenParts
from wsclient.tui.io.clipboard import copy
from wsclient.tui.io.editing import send_line
from wsclient.tui.model.checking import BARE_TYPE
from wsclient.tui.model.history import Draft, Form
from wsclient.tui.model.jsontext import is_json, readable
from wscore.errors import WsctlError
from wscore.foreign import ProtocolName


class SelectedActions(MainScreenParts):
    """What is done with the selected message: copy it, send it again, keep a value of it."""

    def action_copy_json(self) -> None:
        """Copy the selected message."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            binary = entry.record.binary
            if binary is None:
                self._copy(entry.record.text, "as it is")
            else:
                self._copy(binary.hex(" "), "as hex")

    def action_copy_send(self) -> None:
        """Copy a command that sends the selected message."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            self._copy(send_line(entry.record, self._adapter), "as a --send line")

    def action_capture(self) -> None:
        """Ask for a value to keep."""
        self._bar.ask("capture", "id=data.id", self._capture)

    def _capture(self, text: str) -> str | None:
        entry = self.stream.selected
        record = None if entry is None else entry.record
        try:
            name, path = parse_capture(text.strip())
        except WsctlError as error:
            return str(error)
        self._templates.capture(name, path, None if record is None or record.is_sent else record.envelope)
        self._panels["variables"].add_class("-shown")
        self._panels["variables"].show()
        return None

    def action_edit_again(self) -> None:
        """Put the selected message into the composer."""
        entry = self.stream.selected
        if entry is not None and entry.record is not None:
            self.composer.draft = self._draft_of(entry.record)
            self.composer.focus_data()

    def _draft_of(self, record: Record) -> Draft:
        """Return what sends the frame of a message again."""
        text, adapter = record.text, self._adapter
        kind = "" if record.envelope is None else record.envelope.type
        if record.binary is not None:
            return Draft(kind, record.binary.hex(" "), Form.HEX)
        if adapter is not None and adapter.name != ProtocolName.WSCTL:
            return Draft(kind, text, Form.FRAME if adapter.has_typed_lines else Form.AUTO)
        return Draft(kind or BARE_TYPE, readable(text) if is_json(text) else text)

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

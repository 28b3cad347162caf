"""What is sent: the composer, the editor, files, speech, the history, repeating."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from wsclient.tui.actions.parts import MainScreenParts
from wsclient.tui.io.editing import edit_in_editor, frames_of_file
from wsclient.tui.model.history import Draft
from wscore.errors import WsctlError

MIN_REPEAT_MS: Final = 1


class WritingActions(MainScreenParts):
    """What is sent: the composer, the editor, files, speech, the history, repeating."""

    def action_compose(self) -> None:
        """Go to the composer."""
        self.composer.focus_data()

    def action_editor(self) -> None:
        """Write the draft in $EDITOR."""
        draft = self.composer.draft
        try:
            with self.app.suspend():
                text = edit_in_editor(draft.text)
        except WsctlError as error:
            self._say(str(error), "error")
        else:
            self.composer.draft = Draft(draft.type, text, room=draft.room)
            self.composer.focus_data()

    def action_send_file(self) -> None:
        """Ask for a file to send."""
        self._bar.ask("send file", "", self._send_file)

    def action_speak(self) -> None:
        """Ask for a WAV file to send, or stop sending one."""
        if self._speaker is None or not self._speaker.stop():
            self._bar.ask("send WAV", "", self._speak)

    def action_history(self) -> None:
        """Search the history."""
        from wsclient.tui.widgets.picker import DraftPicker

        def chosen(draft: Draft | None) -> None:
            if draft is not None:
                self.composer.draft = draft
                self.composer.focus_data()

        self.app.push_screen(DraftPicker(self._history), chosen)

    def action_saved(self) -> None:
        """Pick a saved message."""
        from wsclient.tui.widgets.savedpicker import Picked, SavedPicker

        def chosen(picked: Picked | None) -> None:
            if picked is None:
                return
            self.composer.draft = picked.draft
            self.composer.focus_data()
            if picked.sends:
                self.composer.action_send()

        self.app.push_screen(SavedPicker(self._saved), chosen)

    def action_save_message(self) -> None:
        """Ask for the name to save the draft under."""
        self._bar.ask("save the message as [collection/]name", "", self._save_message)

    def _save_message(self, name: str) -> str | None:
        try:
            self._saved.save(name, self.composer.draft)
        except WsctlError as error:
            return str(error)
        self._say(f"saved as {name.strip()} in {self._saved.path}")
        return None

    def action_next_room(self) -> None:
        """Send what is written to the next room, or to the session."""
        if self._live is None or not self._live.rooms:
            self._say("you are in no room: --room joins one, and so does a room.join", "warning")
        else:
            self.composer.next_room(self._live.rooms)

    def action_repeat(self) -> None:
        """Send the draft every N ms, or stop."""
        if self._repeat_timer is not None:
            self._repeat_timer.stop()
            self._repeat_timer = None
            self._repeating = None
            self._show_status()
        else:
            self._bar.ask("send the message every (ms)", "1000", self._start_repeating)

    def _send_file(self, name: str) -> str | None:
        try:
            frames = frames_of_file(Path(name).expanduser(), self.composer.draft.type)
        except WsctlError as error:
            return str(error)
        assert self._sender is not None
        self.run_worker(self._sender.send_all(frames))
        return None

    def _speak(self, name: str) -> str | None:
        from wsclient.tui.io.speaking import Speaker, speech_of_file

        assert self._live is not None
        try:
            wav = speech_of_file(Path(name).expanduser())
        except WsctlError as error:
            return str(error)
        self._speaker = self._speaker or Speaker(self._live, self._say)
        self.run_worker(self._speaker.speak(wav))
        return None

    def _start_repeating(self, text: str) -> str | None:
        if not text.strip().isdecimal() or int(text) < MIN_REPEAT_MS:
            return "a whole number of ms"
        assert self._sender is not None
        sender, draft = self._sender, self.composer.draft
        self._repeating = f"every {int(text)} ms"
        self._repeat_timer = self.set_interval(int(text) / 1000, lambda: sender.send(draft))
        self._show_status()
        return None

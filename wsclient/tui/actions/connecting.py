"""The connection of the main screen, and its recording."""

from __future__ import annotations

import time
from pathlib import Path

from wsclient.tui.actions.parts import MainScreenParts
from wsclient.tui.io.live import LiveConnection
from wscore.errors import WsctlError


class ConnectionActions(MainScreenParts):
    """The connection of the main screen, and its recording."""

    def action_record(self) -> None:
        """Begin a recording, or end it."""
        assert self._live is not None
        if self._live.recording_to is not None:
            path = self._live.recording_to
            self._say(f"{self._live.stop_recording()} messages in {path}")
            self._show_status()
        else:
            name = time.strftime("wsctl-%Y%m%d-%H%M%S.jsonl")
            self._bar.ask("record to", name, self._start_recording)

    def action_reconnect(self) -> None:
        """Connect anew."""
        assert self._live is not None
        self._connect(self._live)

    def action_ping(self) -> None:
        """Send a ping of WebSocket itself, and say how long it took."""
        assert self._live is not None
        self.run_worker(self._ping(self._live), group="ping")

    async def _ping(self, live: LiveConnection) -> None:
        try:
            self._say(f"pong after {await live.ping():.1f} ms")
        except WsctlError as error:
            self._say(str(error), "error")

    def action_form(self) -> None:
        """Go to the connect form."""
        if self._open_form is not None:
            self._open_form()

    def _connect(self, live: LiveConnection) -> None:
        self.run_worker(live.run(), group="connection", exclusive=True, exit_on_error=True)

    def _start_recording(self, name: str) -> str | None:
        assert self._live is not None
        try:
            self._live.record(Path(name).expanduser())
        except WsctlError as error:
            return str(error)
        self._show_status()
        return None

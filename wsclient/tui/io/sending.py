"""What the main screen sends: messages and files of them; problems are said, never raised."""

from __future__ import annotations

from collections.abc import Callable

from wsclient.errors import NotConnectedError
from wsclient.outgoing import outgoing_frame
from wsclient.templates import TemplateContext, TemplateError, expand
from wsclient.tui.io.live import LiveConnection
from wsclient.tui.model.history import Draft
from wscore.envelope import MessageProtocol

Say = Callable[[str, str], None]  # a text and its severity


class Sender:
    """Sends drafts over a connection."""

    def __init__(self, live: LiveConnection, protocol: MessageProtocol, templates: TemplateContext, say: Say) -> None:
        self._live = live
        self._protocol = protocol
        self._templates = templates
        self._say = say

    async def send(self, draft: Draft) -> bool:
        """Send one message; returns whether it went out."""
        try:
            text = expand(draft.text, self._templates)
            await self._live.send(outgoing_frame(text, draft.type, self._protocol))
        except (TemplateError, NotConnectedError) as error:
            self._say(str(error), "error")
            return False
        return True

    async def send_all(self, drafts: list[Draft]) -> None:
        """Send messages up to the first that does not go out."""
        for number, draft in enumerate(drafts, 1):
            if not await self.send(draft):
                self._say(f"stopped after {number - 1} of {len(drafts)} messages", "error")
                return
        self._say(f"sent {len(drafts)} messages", "information")

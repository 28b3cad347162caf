"""What the main screen sends: messages and files of them; problems are said, never raised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from wsclient.errors import NotConnectedError
from wsclient.outgoing import with_room
from wsclient.pacing import Pacer
from wsclient.templates import TemplateContext, expand
from wsclient.tui.io.editing import content_of_file
from wsclient.tui.io.live import LiveConnection
from wsclient.tui.model.checking import bytes_of, problem_of
from wsclient.tui.model.history import Draft, Form
from wscore.envelope import InvalidMessageError
from wscore.errors import WsctlError
from wscore.foreign import Frame

Say = Callable[[str, str], None]  # a text and its severity


class Sender:
    """Sends drafts over a connection."""

    def __init__(self, live: LiveConnection, templates: TemplateContext, say: Say) -> None:
        self._live = live
        self._templates = templates
        self._say = say

    async def send(self, draft: Draft) -> bool:
        """Send one message; returns whether it went out."""
        try:
            frame = self._frame(draft)
            if draft.room and isinstance(frame, str) and draft.form is not Form.FRAME:
                frame = with_room(frame, draft.room)
            await self._live.send(frame)
        except WsctlError as error:
            self._say(str(error), "error")
            return False
        return True

    def _frame(self, draft: Draft) -> Frame:
        """Return the frame of a draft; raises ConfigError, and InvalidMessageError for what is no message."""
        draft = replace(draft, text=expand(draft.text, self._templates))
        adapter = self._live.adapter
        problem = problem_of(draft, adapter)
        if problem is not None:
            raise InvalidMessageError(f"not sent: {problem}")
        if adapter is None:
            raise NotConnectedError
        match draft.form:
            case Form.FILE:
                return content_of_file(Path(draft.text.strip()).expanduser())
            case Form.HEX | Form.BASE64:
                return bytes_of(draft)
            case Form.AUTO if draft.text.strip():
                return self._live.compose(draft.text, draft.type)
            case Form.AUTO:
                return adapter.wrap(draft.type, msgspec.UNSET, None)
        is_wrapped = draft.form is Form.TEXT and adapter.has_typed_lines
        return adapter.wrap(draft.type, draft.text, None) if is_wrapped else draft.text

    async def send_all(self, drafts: list[Draft]) -> None:
        """Send messages at the pace that the server allows, up to the first that does not go out."""
        pacer = Pacer(None, time.monotonic())
        if (limits := self._live.limits) is not None:
            pacer.greeted(limits, time.monotonic())
        for number, draft in enumerate(drafts, 1):
            size = len(draft.text.encode(errors="replace"))
            await asyncio.sleep(pacer.wait_s(size, time.monotonic(), is_line=True))
            pacer.sent(size, time.monotonic(), is_line=True)
            if not await self.send(draft):
                self._say(f"stopped after {number - 1} of {len(drafts)} messages", "error")
                return
        self._say(f"sent {len(drafts)} messages", "information")

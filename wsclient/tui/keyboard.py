"""Keys in the order in which they were typed: each goes to what has the focus once those before it are dealt with.

Textual hands a key on at once, and what it does (move the focus, open a screen) comes some messages later: what is
typed right after it, or pasted, would still go to where the focus was, and run as commands.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from textual.app import App, ScreenStackError
from textual.dom import DOMNode
from textual.events import Event, Key, Paste

# The key itself passes from the focused widget up to the app; what it has a widget say takes the same way after it.
ROUNDS: Final = 3
HANG_S: Final = 1.0  # a widget that is busy for longer holds no key back


class OrderedKeys(App[None]):
    """An app that takes one key after another."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting_keys: deque[Event] = deque()
        self._key_number = 0
        self._patience: asyncio.TimerHandle | None = None  # while a key is dealt with

    async def on_event(self, event: Event) -> None:
        """Handle an event; a key waits for the one before it."""
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._patience is None:
            await self._handle_key(event)
        else:
            self._waiting_keys.append(event)

    async def _handle_key(self, event: Event) -> None:
        self._key_number += 1
        number = self._key_number
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(HANG_S, self.call_later, self._key_handled, number)
        if way := self._way():
            await super().on_event(event)
            self._follow(way, number, 1)

    def _way(self) -> list[DOMNode]:
        """Return what a key passes through before it comes back to the app."""
        try:
            start = self.screen.focused or self.screen
        except ScreenStackError:  # it is about to end
            return []
        return [node for node in start.ancestors_with_self if node is not self]

    def _follow(self, way: list[DOMNode], number: int, turn: int) -> None:
        """Pass through the queues behind a key, one after the other."""
        for index, node in enumerate(way, 1):
            if node.call_later(self._follow, way[index:], number, turn):
                return
        if turn < ROUNDS:
            self.call_later(lambda: self._follow(self._way(), number, turn + 1))
        else:
            self.call_later(self._key_handled, number)

    async def _key_handled(self, number: int) -> None:
        if number == self._key_number and self._patience is not None:
            self._patience.cancel()
            self._patience = None
            if self._waiting_keys:
                await self._handle_key(self._waiting_keys.popleft())

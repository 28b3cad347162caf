"""The terminal client as a user has it, driven by keys, against a real server in the same loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import textual.screen
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot

from wsclient import Client
from wsclient.tui.app import ConnectApp
from wsclient.tui.model.target import Target
from wscore.foreign import ProtocolSettings
from wscore.reconnect import ReconnectPolicy

HANG_S = 20


@pytest.fixture(autouse=True, scope="session")
def _cheap_apps() -> Iterator[None]:
    """Have each app take the styles that the first one parsed, a fifth of a start, and draw 20 times a second, not 60.

    Whoever looks at the screen draws it first, see `Pilot.pause`.
    """
    parsed: dict[Any, Any] = {}
    parse = Stylesheet._parse_rules

    def parse_once(sheet: Stylesheet, *source: Any, **options: Any) -> Any:
        key = (tuple(sheet._variables.items()), source, tuple(options.items()))
        if key not in parsed:
            parsed[key] = parse(sheet, *source, **options)
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        patch.setattr(textual.screen, "UPDATE_PERIOD", 0.05)
        yield


class Terminal:
    """A running app: `press` keys, read the `screen_text`, wait `until` something holds."""

    def __init__(self, app: ConnectApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def screen(self) -> Any:
        return self.app.screen

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Type text; a line break is not the enter key of a form but one in the text."""
        names = {" ": "space", "\n": "enter", "\t": "tab"}
        await self.pilot.press(*(names.get(letter, letter) for letter in text))

    async def until(self, holds: Callable[[], object], what: str = "") -> None:
        async with asyncio.timeout(HANG_S):
            while not holds():
                await self.pilot.pause(0.02)

    def screen_text(self) -> str:
        """What stands on the screen, as text."""
        app = self.app
        lines = app.screen._compositor.render_inline(app.size, app._background_screens).strips
        return "\n".join(line.text.rstrip() for line in lines)

    async def shows(self, *texts: str) -> None:
        """Wait until all texts stand on the screen."""
        try:
            await self.until(lambda: all(text in self.screen_text() for text in texts))
        except TimeoutError:
            raise AssertionError(f"{texts} not on the screen:\n{self.screen_text()}") from None

    async def says(self, text: str) -> None:
        """Wait until a notification has this text; a test's app keeps them without drawing them."""
        await self.until(lambda: any(text in notification.message for notification in self.app._notifications))

    def rows(self) -> list[str]:
        """The types in the stream, notes as `-`."""
        view = self.screen.stream.view
        return [view.entry(position).type or "-" for position in range(len(view))]


class Peer:
    """Somebody else in the same room."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def send(self, data: object, type: str = "message") -> None:
        await self._client.send(type, data)

    async def receive(self) -> Any:
        """The data of the next message."""
        return await self._client.expect("message", object, timeout_s=HANG_S)


@pytest.fixture
async def server(start_server):
    return await start_server()


@pytest.fixture
async def peer(server) -> AsyncIterator[Peer]:
    async with Client(server.url, session_id="room") as client:
        yield Peer(client)


OpenTerminal = Callable[..., Any]


@pytest.fixture
def open_terminal(tmp_path: Path) -> OpenTerminal:
    """Open the client: `async with open_terminal(url, session="room", size=(100, 30)) as terminal`."""

    @asynccontextmanager
    async def open_one(
        url: str = "",
        *,
        session: str | None = "room",
        size: tuple[int, int] = (100, 30),
        form: bool = False,
        recording: tuple[str, Sequence[Any]] | None = None,
        token: Any = None,
        reconnect: ReconnectPolicy | None = ReconnectPolicy(),
        protocol: ProtocolSettings = ProtocolSettings(),
        **options: Any,
    ) -> AsyncIterator[Terminal]:
        def client() -> Client:
            return Client(url, session_id=session, token=token, reconnect=reconnect, protocol=protocol)

        arguments: dict[str, Any] = {
            "target": Target(url),
            "new_client": lambda target: Client(target.url, session_id=target.session or None),
            "history_path": tmp_path / "history.jsonl",
            "client": None if form or recording else client,
            "recording": recording,
            **options,
        }
        app = ConnectApp(**arguments)
        async with app.run_test(size=size) as pilot:
            terminal = Terminal(app, pilot)
            if url and not form and token is None:
                await terminal.until(lambda: app.screen._health.state == "open")
            yield terminal

    return open_one

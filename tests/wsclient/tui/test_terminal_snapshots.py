"""How the terminal client looks: what must stand there first, then the whole picture beside the one that was kept.

`UPDATE_SNAPSHOTS=1 python -m pytest tests/wsclient/tui/test_terminal_snapshots.py` keeps new pictures; look at them.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from wsclient.recording import read_record
from wsclient.tui.model.target import Target, TokenKind

SNAPSHOTS = Path(__file__).parent / "snapshots"
DAY_MS = 1_764_000_000_000


def talk():
    """A recording whose every moment is known."""
    session = {
        "sessionId": "lobby",
        "userId": "alice",
        "isGuest": False,
        "connectionId": "c-1",
        "heartbeat": {"intervalMs": 25000, "timeoutMs": 60000},
        "limits": {"maxMessageBytes": 1048576},
    }
    frames = [
        (0, False, "session_created", {"data": session}),
        (1500, True, "message", {"data": {"text": "hello"}}),
        (1504, False, "message", {"data": {"text": "hello"}, "sessionId": "lobby", "userId": "alice"}),
        (2000, True, "rooms.list", {"id": "r1"}),
        (2042, False, "rooms", {"id": "r1", "data": {"rooms": ["lobby", "kitchen"], "open": True, "none": None}}),
        (3000, False, "error", {"data": {"code": "INVALID_MESSAGE", "message": "`$.x`", "retryable": False}}),
        (3100, False, "message", {"data": "[@click=app.quit]\u202e\x1b[31mno tricks[/]"}),
        (4000, False, "ping", {"data": {"timestamp": 1}}),
        (4001, True, "pong", {"data": {"timestamp": 2}}),
        (90_000, False, "audio_chunk", {"data": {"audioData": "AEAAwABAAMA" * 4, "sequenceNumber": 1}}),
    ]
    for offset, is_sent, kind, fields in frames:
        mark = "sentAtMs" if is_sent else "receivedAtMs"
        yield read_record(json.dumps({"type": kind, "timestamp": DAY_MS, **fields, mark: DAY_MS + offset}))


@dataclass(frozen=True)
class Picture:
    name: str
    shows: tuple[str, ...]
    keys: tuple[str, ...] = ()
    size: tuple[int, int] = (100, 24)
    theme: str = "textual-dark"


PICTURES = [
    Picture("small", ("● recording", "session_created", "▲ message", "audio_chunk"), size=(80, 24)),
    Picture("large", ("lobby", '{"sessionId":"lobby","userId":"alice"'), size=(200, 60)),
    Picture("detail", ('"type": "rooms"', "request #3 (42 ms", '"kitchen"'), (*("up",) * 5, "enter")),
    Picture("detail-wide", ('"type": "rooms"', "#r1"), (*("up",) * 5, "enter"), (160, 30)),
    Picture("error-detail", ("INVALID_MESSAGE", "received"), (*("up",) * 4, "enter")),
    Picture("hostile-detail", ("u202e", "[@click=app.quit]"), (*("up",) * 3, "enter")),
    Picture("audio", ("bytes", "audio_chunk"), ("enter",)),
    Picture("errors-only", ("errors only", "INVALID_MESSAGE"), ("e",)),
    Picture("filter", ("filter type:message dir:in",), ("f", *"type:message", "space", *"dir:in", "enter")),
    Picture("bad-filter", ("there is no direction 'up'",), ("f", *"dir:up", "enter")),
    Picture("latest", ("×3", "rooms"), ("f3",)),
    Picture("help", ("One row a message", "Pause"), ("f1",), (140, 40)),
    Picture("palette", ("Latest by type", "Show or hide the latest message"), ("ctrl+p", *"latest")),
    Picture("ansi", ("▲ message", "audio_chunk"), theme="ansi-dark"),
    Picture("light", ("▲ message", "audio_chunk"), ("up",), theme="textual-light"),
]


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def drawn(terminal) -> str:
    svg = re.sub(r"@font-face \{.*?\}\s*", "", terminal.app.export_screenshot(), flags=re.DOTALL)
    return re.sub(r"terminal-\d+", "terminal", svg)


async def compare(terminal, name: str, shows: tuple[str, ...]) -> None:
    text = terminal.screen_text()
    for wanted in shows:
        assert wanted in text, f"{wanted!r} is not on the screen:\n{text}"
    kept = SNAPSHOTS / f"{name}.svg"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOTS.mkdir(exist_ok=True)
        kept.write_text(drawn(terminal), "utf-8")
    picture = kept.read_text("utf-8")
    with suppress(TimeoutError):  # on a busy machine the last of its parts finds its place when all texts stand there
        await terminal.until(lambda: drawn(terminal) == picture)
    assert drawn(terminal) == picture, f"{kept.name} looks otherwise now:\n{terminal.screen_text()}"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
async def test_a_recording_looks_as_it_should(open_terminal, picture):
    async with open_terminal(recording=("talk.jsonl", list(talk())), size=picture.size) as terminal:
        terminal.app.theme = picture.theme
        terminal.app.animation_level = "none"
        await terminal.pilot.pause()
        await terminal.press(*picture.keys)
        for wanted in picture.shows:
            await terminal.shows(wanted)
        await terminal.pilot.pause()
        for cursor in terminal.screen.query("Input"):
            cursor.cursor_blink = False
        await terminal.pilot.pause()
        await compare(terminal, picture.name, picture.shows)


async def test_the_form_looks_as_it_should(open_terminal):
    profiles = {"staging": Target("wss://staging.example/", TokenKind.SUB, "alice", "room")}
    async with open_terminal("ws://127.0.0.1:8765/socket.io/", form=True, profiles=profiles, size=(80, 24)) as terminal:
        terminal.app.animation_level = "none"
        for field in terminal.screen.query("Input"):
            field.cursor_blink = False
        await terminal.shows("Profile", "Connect as", "Help", "palette")
        await terminal.pilot.pause()
        await compare(terminal, "form", ("a guest", "auto"))


def contrast(segment) -> float:
    """The ratio of WCAG 2.1: 3 is what it asks of large text and of controls; Solarized has not much more anywhere."""
    luminances = []
    for color in (segment.style.color, segment.style.bgcolor):
        parts = (channel / 255 for channel in color.get_truecolor())
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        luminances.append(0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
    return max(luminances) / min(luminances)


@pytest.mark.parametrize("has_focus", [True, False])
async def test_the_row_under_the_cursor_can_be_read_in_every_theme(open_terminal, has_focus):
    async with open_terminal(recording=("talk.jsonl", list(talk()))) as terminal:
        stream = terminal.screen.stream
        if not has_focus:
            terminal.screen.set_focus(None)
        worst = {}
        for theme in sorted(terminal.app.available_themes):
            terminal.app.theme = theme
            await terminal.pilot.pause()
            for position in range(len(stream.view)):
                stream.go_to(position)
                row = stream.render_line(position - stream.scroll_offset.y)
                colours = [segment for segment in row if segment.text.strip() and not theme.startswith("ansi")]
                worst[theme] = min([worst.get(theme, 21.0), *map(contrast, colours)])
        beside = {theme: figure for theme, figure in worst.items() if figure < 3}
        assert not beside

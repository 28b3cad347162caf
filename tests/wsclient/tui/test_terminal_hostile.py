"""A hostile server: what it sends is shown as text, and neither crashes, escapes nor acts."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wscore.text import neutralise

NASTY = [
    "[/x]",
    "[@click=app.quit]quit[/]",
    "[@click=screen.clear]x[/]",
    "[bold red]not bold[/]",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m\x90\x9d",
    "\u202egnirts\u202c",
    "\u2066\u2069\u200f",
    "a\r\nb\tc\x00",
    "\ufeff$(reboot)`id`",
    "\U0001f469\u200d\U0001f4bb" * 20,
    "ａｂｃ" * 40,
    "[",
    "\\[",
    "]]]]",
]
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


async def every_view_holds(terminal, count: int) -> None:
    """Look at everything in every way there is, and at what the terminal would get."""
    await terminal.until(lambda: terminal.screen._ring.counts.get("message", 0) >= count)
    terminal.screen.stream.action_follow()
    for _ in range(count):
        await terminal.press("up")
        text = terminal.screen_text()
        assert not CONTROLS.search(text), CONTROLS.findall(text)
    assert terminal.app._exit is False


@pytest.mark.parametrize("as_session", [False, True], ids=["data", "error"])
async def test_known_tricks_do_nothing(server, peer, open_terminal, as_session):
    async with open_terminal(server.url, size=(100, 40)) as terminal:
        await terminal.press("enter", "f2", "f3")
        for text in NASTY:
            await peer.send({"text": text, text: [text]} if as_session else text)
        await every_view_holds(terminal, len(NASTY))
        await terminal.shows("[@click=app.quit]quit[/]" if not as_session else "text")


async def test_what_the_terminal_gets_has_no_escape_from_a_stranger(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        written: list[str] = []
        driver = terminal.app._driver
        driver.write = written.append
        await peer.send("\x1b]52;c;ZXZpbA==\x07 \x1b[31mRED")
        await terminal.shows("RED")
        await terminal.press("enter")
        await terminal.shows("u001b[31mRED")
        assert not any("\x1b]52" in text or "\x1b[31mRED" in text for text in written)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.text(max_size=80), min_size=1, max_size=6))
def test_any_text_can_be_shown(texts):
    from wsclient.dialling import read_envelope
    from wsclient.recording import Record
    from wsclient.tui.model.ring import MessageRing
    from wsclient.tui.model.rows import columns
    from wsclient.tui.widgets.detail import pretty_json

    ring = MessageRing()
    for text in texts:
        frame = json.dumps({"type": "message", "timestamp": 1, "id": "x", "sessionId": text, "data": {text: text}})
        entry = ring.add_record(Record(1, False, frame, read_envelope(frame)))
        bare = ring.add_record(Record(1, False, text, None))
        for row in (entry, bare, ring.add_note(text, 1)):
            line = "".join(part for _, part in columns(row, 120, 5))
            assert line == neutralise(line)
        pretty = pretty_json(frame)
        assert all(line == neutralise(line) for line in pretty.split("\n"))


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.text(max_size=60) | st.sampled_from(NASTY), min_size=1, max_size=5))
async def test_any_text_through_a_real_server_can_be_looked_at(start_server, open_terminal, texts):
    from wsclient import Client

    server = await start_server()
    async with Client(server.url, session_id="room") as client, open_terminal(server.url) as terminal:
        await terminal.press("enter")
        for text in texts:
            await client.send("message", text.encode("utf-8", "replace").decode())
        await every_view_holds(terminal, len(texts))


async def test_a_megabyte_on_one_line_is_cut_where_it_is_drawn(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await peer.send("x" * 1_000_000)
        await peer.send({"deep": ["y" * 900_000]})
        await terminal.until(lambda: terminal.screen._ring.counts.get("message", 0) == 2)
        await terminal.press("enter")

        def detail() -> str:
            return str(terminal.screen.query_one("#detail-body").content)

        await terminal.until(lambda: "(900,000 characters)" in detail())  # a key is handled after those before it
        await terminal.press("up")
        await terminal.until(lambda: "(1,000,000 characters)" in detail())
        assert len(detail()) < 70_000


async def test_an_audio_chunk_shows_what_it_sounds_like(server, open_terminal):
    import base64
    import struct

    tone = b"".join(struct.pack("<h", 16384 if n % 32 < 16 else -16384) for n in range(1600))
    async with open_terminal(server.url) as terminal:
        frame = {"type": "audio_chunk", "data": {"audioData": base64.b64encode(tone).decode(), "sequenceNumber": 7}}
        await terminal.press("c")
        terminal.screen.composer.draft = type(terminal.screen.composer.draft)("message", json.dumps(frame))
        await terminal.press("ctrl+j", "escape")
        await terminal.until(lambda: "audio_chunk" in terminal.rows())
        await terminal.press("enter")
        await terminal.shows("3,200 bytes, 100 ms at 16,000 Hz", "-6 dBFS", "(3,200 bytes of audio)")

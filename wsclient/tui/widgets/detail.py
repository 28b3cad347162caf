"""The selected message in full: pretty-printed with colours, and audio as what it sounds like."""

from __future__ import annotations

import base64
import binascii
import json
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from wsclient.tui.model.jsontext import is_json, lay_out, shown_string
from wsclient.tui.model.levels import describe_audio
from wsclient.tui.model.ring import Entry, MessageRing
from wsclient.tui.model.rows import clock_time, size_text
from wscore.text import neutralise

MAX_SHOWN_CHARS: Final = 64 << 10  # colours and lines beyond this cost more than anybody reads
MAX_STRING_CHARS: Final = 4096  # a string of a megabyte would hide all other fields


class Detail(VerticalScroll, can_focus=True):
    """Shows one entry at a time; only this one is ever pretty-printed."""

    HELP = """
## Detail

The selected message, pretty-printed. `y` copies it as JSON, `Y` as a `wsctl connect --send` line.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "screen.to_stream", "Back", show=False, id="detail.back"),
    ]
    DEFAULT_CSS = """
    Detail { background: $surface; padding: 0 1; height: 1fr; }
    Detail:focus { background: $surface-lighten-1; }
    Detail > Static { width: 1fr; height: auto; }
    """

    def __init__(self, ring: MessageRing, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ring = ring
        self._head = Static(markup=False, id="detail-head")
        self._body = Static(markup=False, id="detail-body")
        self._shown: Entry | None = None

    def compose(self) -> ComposeResult:
        """Yield the heading and the body."""
        yield self._head
        yield self._body

    def show(self, entry: Entry | None) -> None:
        """Show an entry, or nothing."""
        if entry is not None and entry is self._shown:
            return
        self._shown = entry
        self._head.update(Content("") if entry is None else Content.styled(self._heading(entry), "$text-muted"))
        self._body.update(Content("no message") if entry is None else _body(entry))
        self.scroll_home(animate=False)

    def _heading(self, entry: Entry) -> str:
        if entry.record is None:
            return clock_time(entry.at_ms)
        words = [
            f"#{entry.number}",
            "sent" if entry.record.is_sent else "received",
            clock_time(entry.at_ms),
            f"{size_text(entry.size_bytes)} bytes",
        ]
        partner = self._ring.get(entry.partner)
        if partner is not None:
            wait_ms = abs(entry.at_ms - partner.at_ms)
            what = "reply" if partner.number > entry.number else "request"
            words.append(f"{what} #{partner.number} ({wait_ms} ms, p goes there)")
        return " · ".join(words)


def _body(entry: Entry) -> Content:
    if entry.record is None:
        return Content(neutralise(entry.note))
    text = pretty_json(entry.record.text)
    if text is None:
        return Content(_cut(neutralise(entry.record.text), entry.record.text))
    from textual.highlight import highlight  # loads Pygments: not before a message is looked at

    body = highlight(_cut(text, entry.record.text), language="json")
    audio = describe_audio(entry.record.envelope)
    return Content.assemble((audio, "$text-accent"), "\n", body) if audio else body


def pretty_json(text: str) -> str | None:
    """Return indented JSON without a control character in it and with long strings cut, or None if it is no JSON."""
    return lay_out(text, _shown, MAX_SHOWN_CHARS) if is_json(text) else None


def _shown(token: str, key: str) -> str:
    value: str = json.loads(token, strict=False)
    if key == '"audioData"' and (size := _audio_bytes(value)) is not None:
        return f'"({size:,} bytes of audio)"'
    if len(value) > MAX_STRING_CHARS:
        return shown_string(f"{value[:MAX_STRING_CHARS]}… ({len(value):,} characters)")
    return shown_string(value)


def _audio_bytes(value: str) -> int | None:
    try:
        return len(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return None


def _cut(shown: str, text: str) -> str:
    return shown if len(shown) <= MAX_SHOWN_CHARS else f"{shown[:MAX_SHOWN_CHARS]}\n… {len(text):,} characters in all"

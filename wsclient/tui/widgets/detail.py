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

from wsclient.filters import EVERYTHING
from wsclient.recording import Record
from wsclient.tui.model.jsontext import is_json, lay_out, shown_string
from wsclient.tui.model.levels import describe_audio
from wsclient.tui.model.ring import Entry, MessageRing
from wsclient.tui.model.rows import clock_time, size_text
from wscore.foreign.binary import decoded, hex_dump
from wscore.text import neutralise

MAX_SHOWN_BYTES: Final = 4 << 10  # of a binary frame
_BINARY_NAMES: Final = {"msgpack": "MessagePack", "cbor": "CBOR"}
MAX_SHOWN_CHARS: Final = 64 << 10  # colours and lines beyond this cost more than anybody reads
MAX_STRING_CHARS: Final = 4096  # a string of a megabyte would hide all other fields


class Detail(VerticalScroll, can_focus=True):
    """Shows one entry at a time; only this one is ever pretty-printed."""

    HELP = """
## Detail

The selected message, pretty-printed. `/` searches in it, `n` and `N` go on. `escape` goes back to the stream, where `y`
copies it as JSON, `Y` as a `wsctl connect --send` line.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "screen.to_stream", "Back", show=False, id="detail.back"),
        Binding("slash", "screen.search", "Search", id="detail.search", tooltip="Search in this message"),
        Binding("n", "screen.search_next(1)", "Next match", show=False, id="detail.search-next"),
        Binding("N", "screen.search_next(-1)", "Previous match", show=False, id="detail.search-previous"),
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
        self._plain = Content("")
        self._spans: list[tuple[int, int]] = []
        self._at = -1
        self.search = EVERYTHING

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
        self._plain = Content("no message") if entry is None else _body(entry)
        self._at = -1
        self._mark()
        self.scroll_home(animate=False)

    def go_on(self, step: int) -> None:
        """Go to the next place where something is searched for, or to the one before it, around the end."""
        self._spans = self.search.spans(self._plain.plain)
        if self._spans:
            self._at = (
                (self._at + step) % len(self._spans) if self._at >= 0 else 0 if step > 0 else len(self._spans) - 1
            )
        self._mark()
        if self._spans and self.size.width:
            begin = self._spans[self._at][0]
            above = self._plain[:begin].wrap(self._body.size.width or self.size.width)
            self.scroll_to(y=max(0, len(above) + self._head.size.height - self.size.height // 2), animate=False)

    def _mark(self) -> None:
        self._spans = self.search.spans(self._plain.plain)
        body = self._plain
        for number, (begin, end) in enumerate(self._spans):
            style = "bold $background on $warning" if number == self._at else "$text on $warning 50%"
            body = body.stylize(style, begin, end)
        self._body.update(body)

    def flags(self) -> list[str]:
        """Return words for the status line: what is searched for here, and which of its places is shown."""
        if self.search.is_empty or self._shown is None:
            return []
        return [f"here /{self.search}: {self._at + 1 or '–'} of {len(self._spans)}"]

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
    if entry.record.binary is not None:
        return _binary_body(entry.record)
    text = pretty_json(entry.record.text)
    if text is None:
        return Content(_cut(neutralise(entry.record.text), entry.record.text))
    from textual.highlight import highlight  # loads Pygments: not before a message is looked at

    body = highlight(_cut(text, entry.record.text), language="json")
    audio = describe_audio(entry.record.envelope)
    return Content.assemble((audio, "$text-accent"), "\n", body) if audio else body


def _binary_body(record: Record) -> Content:
    """Return bytes as hex and ASCII, and before them the value that was found in them."""
    assert record.binary is not None
    dump = Content(hex_dump(record.binary, MAX_SHOWN_BYTES))
    value = decoded(record.binary)
    if value is None:
        return dump
    from textual.highlight import highlight  # as above

    name, json_text = value[0], value[1].decode()
    body = highlight(_cut(pretty_json(json_text) or "", json_text), language="json")
    return Content.assemble((f"{_BINARY_NAMES[name]}, decoded", "$text-accent"), "\n", body, "\n\n", dump)


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

"""How one entry of the stream looks as a row: plain text in columns, harmless whatever it contains."""

from __future__ import annotations

import time
from typing import Final

from wsclient.recording import Record
from wsclient.tui.model.ring import Entry
from wscore.text import neutralise

PREVIEW_CHARS: Final = 400  # more never fits a row, and a message may be a megabyte
SESSION_MIN_WIDTH: Final = 96  # narrower terminals show no session column
_TYPE_WIDTH = 15


def clock_time(at_ms: int) -> str:
    """Return local time of day with milliseconds, `12:34:56.789`."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{ms:03d}"


def size_text(size_bytes: int) -> str:
    """Return a size in at most five characters: `999`, `1.5k`, `12k`, `1.0M`."""
    if size_bytes < 1000:
        return str(size_bytes)
    for unit in "kMG":
        size = size_bytes / 1000
        if size < 999.5 or unit == "G":
            return f"{size:.1f}{unit}" if size < 9.95 else f"{size:.0f}{unit}"
        size_bytes //= 1000
    raise AssertionError


def delta_text(delta_ms: int) -> str:
    """Return a time difference in at most seven characters: `+12`, `+1.5s`, `+2m`, `-3` (clocks may step back)."""
    sign, size = ("-", -delta_ms) if delta_ms < 0 else ("+", delta_ms)
    if size < 1000:
        return f"{sign}{size}"
    if size < 100_000:
        return f"{sign}{size / 1000:.1f}s"
    return f"{sign}{size // 60_000}m" if size < 6_000_000 else f"{sign}{size // 3_600_000}h"


def preview(entry: Entry) -> str:
    """Return the start of what matters in a message, on one line, without control characters."""
    if entry.record is None:
        return neutralise(entry.note[:PREVIEW_CHARS])
    envelope = entry.record.envelope
    if envelope is None:
        return neutralise(entry.record.text[:PREVIEW_CHARS])
    data = bytes(memoryview(envelope.data)[: PREVIEW_CHARS * 2]).decode(errors="ignore")
    if not data and entry.record.binary is not None:
        data = entry.record.text
    text = neutralise(data[:PREVIEW_CHARS])
    return f"#{neutralise(envelope.id)} {text}" if envelope.id is not None else text


def _untyped(record: Record) -> str:
    if record.envelope is not None:
        return "(no type)"
    return "(text)" if record.binary is None else "(binary)"


def columns(entry: Entry, width: int, latency_ms: int | None) -> list[tuple[str, str]]:
    """Return (part, text) pairs that make up a row of `width` cells; parts name the style of each.

    `latency_ms` is how long a reply took, if the entry is one.
    """
    parts = [("time", f"{clock_time(entry.at_ms)} ")]
    if entry.record is None:
        return [*parts, ("note", f"· {preview(entry)}")]
    kind = "error" if entry.type == "error" else "sent" if entry.record.is_sent else "received"
    parts.append((kind, "▲ " if entry.record.is_sent else "▼ "))
    name = neutralise(entry.type) or _untyped(entry.record)
    parts.append((kind, f"{name[:_TYPE_WIDTH]:<{_TYPE_WIDTH}} "))
    if width >= SESSION_MIN_WIDTH:
        session = "" if entry.record.envelope is None else neutralise(entry.record.envelope.session_id or "")
        parts.append(("dim", f"{session[:8]:<8} "))
    parts.append(("dim", f"{size_text(entry.size_bytes):>5} {delta_text(entry.delta_ms):>6} "))
    if latency_ms is not None:
        parts.append(("reply", f"↩ {latency_ms} ms "))
    parts.append(("text", preview(entry)))
    return parts

"""What was sent before, kept over restarts as JSON lines; the composer goes through it with up, down and ctrl+r."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

KEPT: Final = 1000


class Form(StrEnum):
    """What the text of a draft is."""

    AUTO = "auto"  # JSON if it begins so, else text
    TEXT = "text"
    FRAME = "frame"  # what goes over the wire, with nothing around it
    HEX = "hex"
    BASE64 = "base64"
    FILE = "file"  # the name of one

    @property
    def is_binary(self) -> bool:
        """Whether it is sent as a binary frame."""
        return self in (Form.HEX, Form.BASE64, Form.FILE)


class Draft(Struct, frozen=True):
    """What the composer holds: a message type, the text beside it, what that is, and the room, if it is for one."""

    type: str
    text: str
    form: Form = Form.AUTO
    room: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as it is kept in a file."""
        kept = {"type": self.type, "text": self.text}
        if self.form is not Form.AUTO:
            kept["form"] = self.form
        return {**kept, "room": self.room} if self.room else kept

    @classmethod
    def from_json(cls, value: Any) -> Draft:
        """Read what `to_json` gave; raises KeyError, TypeError or ValueError."""
        return cls(
            str(value["type"]), str(value["text"]), Form(value.get("form", Form.AUTO)), str(value.get("room", ""))
        )


def history_path() -> Path:
    """Return where the history is kept (XDG base directory specification, state)."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "wsctl" / "history.jsonl"


class History:
    """Drafts, oldest first. A file that cannot be read or written costs the history, never the session."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.drafts: list[Draft] = _read(path)[-KEPT:]
        self._position = len(self.drafts)

    def add(self, draft: Draft) -> None:
        """Take what was sent, once if it is sent again, and go to the end."""
        if not self.drafts or self.drafts[-1] != draft:
            self.drafts.append(draft)
            self._append(draft)
        self._position = len(self.drafts)

    def move(self, step: int) -> Draft | None:
        """Return the draft before (-1) or after (1) the last one shown; an empty one after the newest."""
        position = self._position + step
        if not 0 <= position <= len(self.drafts):
            return None
        self._position = position
        return self.drafts[position] if position < len(self.drafts) else Draft("", "")

    def search(self, words: str) -> list[Draft]:
        """Return the drafts that contain every word, newest first, each once."""
        wanted = words.casefold().split()
        found = dict.fromkeys(reversed(self.drafts))
        return [draft for draft in found if all(word in f"{draft.type} {draft.text}".casefold() for word in wanted)]

    def _append(self, draft: Draft) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as file:
                file.write(json.dumps(draft.to_json()) + "\n")
        except OSError:
            pass


def _read(path: Path) -> list[Draft]:
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    drafts = []
    for line in lines[-KEPT:]:
        try:
            drafts.append(Draft.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return drafts

"""Messages from outside the composer: $EDITOR, files, and the way back to a command line."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from wsclient.recording import Record
from wsclient.tui.model.history import Draft
from wscore.errors import ConfigError
from wscore.foreign import Adapter, ProtocolName

MAX_FILE_BYTES: Final = 64 << 20


def send_line(record: Record, adapter: Adapter | None) -> str:
    """Return the command that sends the frame of a message; `adapter` is what the server speaks, if that is known."""
    if record.binary is not None:
        return f"wsctl connect --hex --send '{record.binary.hex()}'"
    is_wrapped = adapter is not None and adapter.name != ProtocolName.WSCTL and adapter.has_typed_lines
    as_it_is = "--raw " if is_wrapped else ""
    return f"wsctl connect {as_it_is}--send {shlex.quote(' '.join(record.text.splitlines()))}"


def edit_in_editor(text: str) -> str:
    """Let $VISUAL or $EDITOR (else vi) change a text; raises ConfigError when that does not work."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    descriptor, name = tempfile.mkstemp(suffix=".json", prefix="wsctl-")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        try:
            code = subprocess.run([*shlex.split(editor), name], check=False).returncode  # noqa: S603
        except (OSError, ValueError) as error:
            raise ConfigError("$EDITOR", f"{editor!r} cannot be run: {error}") from None
        if code:
            raise ConfigError("$EDITOR", f"{editor!r} ended with {code}", "the message is as it was")
        return path.read_text("utf-8", errors="replace").removesuffix("\n")
    finally:
        path.unlink(missing_ok=True)


def content_of_file(path: Path) -> bytes:
    """Return the bytes of a file; raises ConfigError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(str(path), "is larger than 64 MiB")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from None


def frames_of_file(path: Path, type: str) -> list[Draft]:
    """Return what a file says: one JSON document is one message, else each line is one; raises ConfigError."""
    import json

    try:
        text = content_of_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mend = "to send it as a binary frame, write its name and press f8 until it says so"
        raise ConfigError(str(path), f"is not UTF-8: byte {error.start}", mend) from None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return [Draft(type, line) for line in text.splitlines() if line.strip()]
    return [Draft(type, text)]

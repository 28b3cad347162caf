"""Structured logs: one line an event, no token in any of them, control characters made visible (design section 10)."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TextIO

from wscore.text import neutralise, redact
from wsserver.telemetry.logwriter import LogWriter

MAX_VALUE_CHARS: Final = 16_384  # of one field, such as a traceback whose exception quotes what a client sent
# What stands before each line of a traceback in text. No event begins so, and no text from outside begins a line.
CONTINUATION: Final = "    | "
DROPPED: Final = "log.dropped"

_PLAIN_WORD: Final = re.compile(r"[^\s\"'=\\]+")
_PLAIN_ASCII: Final = re.compile(r"[!#-&(-<>-\[\]-~]+")

Value = str | int | float | None


class LogFormat(StrEnum):
    """How a log line looks: `key=value` for people, JSON for machines."""

    TEXT = "text"
    JSON = "json"


class EventLog:
    """Logs named events with fields through the standard library's logger `wsctl`.

    `dropped_lines` says how many lines whoever writes them had to drop.
    """

    __slots__ = ("_logger", "dropped_lines")

    def __init__(self, logger: logging.Logger | None = None, dropped_lines: Callable[[], int] = lambda: 0) -> None:
        self._logger = logger or logging.getLogger("wsctl")
        self.dropped_lines = dropped_lines

    def debug(self, event: str, **fields: object) -> None:
        """Log what only a developer wants to see."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log the ordinary course of things."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log what an operator should look at."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log what did not end as it should."""
        self._log(logging.ERROR, event, fields)

    def failure(self, event: str, error: BaseException, **fields: object) -> None:
        """Log an unexpected exception with its traceback."""
        self._log(logging.ERROR, event, fields, error)

    def _log(self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields}, exc_info=error)


class _EventFormatter(logging.Formatter):
    """Turns a record into time, level, event, fields and traceback; a subclass renders them.

    Secrets are taken out of each value before it is encoded: what a pattern takes can then be no quote or bracket
    of the line's own, and an escape hides nothing from it.
    """

    def __init__(self, worker: int | None = None) -> None:
        """`worker` is its number, where there are several."""
        super().__init__()
        self._always: dict[str, Value] = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: _value(value) for name, value in getattr(record, "fields", {}).items()} | self._always
        traceback = _text(self.formatException(record.exc_info)) if record.exc_info else ""
        return self.render(_timestamp(record), record.levelname, _event(record), fields, traceback)

    def render(self, time: str, level: str, event: str, fields: dict[str, Value], traceback: str) -> str:
        raise NotImplementedError


class TextFormatter(_EventFormatter):
    r"""`2026-01-31T12:00:00.000Z INFO connection.opened user=alice peer=127.0.0.1`.

    A value that is no plain word stands in quotes, with `\"`, `\\` and the escapes of control characters inside. A
    traceback follows in lines of its own.
    """

    def render(self, time: str, level: str, event: str, fields: dict[str, Value], traceback: str) -> str:
        """Render one event."""
        words = [time, level, _word(event), *(f"{name}={_word(str(value))}" for name, value in fields.items())]
        lines = traceback.rstrip("\n").split("\n") if traceback else []
        return "\n".join([" ".join(words), *(CONTINUATION + neutralise(line) for line in lines)])


class JsonFormatter(_EventFormatter):
    """One JSON object a line, non-ASCII escaped, so that no control character remains."""

    def render(self, time: str, level: str, event: str, fields: dict[str, Value], traceback: str) -> str:
        """Render one event."""
        last = {"traceback": traceback} if traceback else {}
        return json.dumps({"time": time, "level": level.lower(), "event": event, **fields, **last})


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(record: logging.LogRecord) -> str:
    try:
        return _text(record.getMessage())
    except Exception as error:  # a library or an app logs with arguments that do not fit
        return _text(f"{record.msg} ({type(error).__name__} when it was to be logged)")


def _value(value: object) -> Value:
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _text(value)


def _text(value: object) -> str:
    """Return a value as text without secrets and lone surrogates, cut to what one field may take."""
    try:
        text = redact(str(value))
    except Exception as error:  # an object's own __str__ may raise anything
        text = f"<{type(value).__name__} whose text raises {type(error).__name__}>"
    if len(text) > MAX_VALUE_CHARS:
        text = f"{text[:MAX_VALUE_CHARS]}… ({len(text) - MAX_VALUE_CHARS:,} more characters)"
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _word(text: str) -> str:
    if _PLAIN_ASCII.fullmatch(text):  # as nearly all are
        return text
    shown = neutralise(text.replace("\\", "\\\\").replace('"', '\\"'))
    return text if shown == text and _PLAIN_WORD.fullmatch(text) else f'"{shown}"'


class _LogHandler(logging.StreamHandler[TextIO | LogWriter]):
    """Writes records; a stream that takes none is no reason to print a traceback into it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


def configure_logging(
    log_format: LogFormat, level: str, stream: TextIO | LogWriter | None = None, worker: int | None = None
) -> None:
    """Send every log record of the process to `stream` (standard error by default) in one format.

    A LogWriter tells in the same format what it had to drop. `worker` stands in each line of a process that is one.
    """
    stream = stream or sys.stderr
    formatter = JsonFormatter(worker) if log_format is LogFormat.JSON else TextFormatter(worker)
    handler = _LogHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("wsctl").setLevel(level.upper())
    if isinstance(stream, LogWriter):
        stream.notice = lambda lines, problem: _dropped(formatter, lines, problem)


def _dropped(formatter: logging.Formatter, lines: int, problem: str) -> str:
    record = logging.LogRecord("wsctl", logging.WARNING, __file__, 0, DROPPED, None, None)
    record.fields = {"lines": lines, "problem": problem}
    return formatter.format(record)

"""Structured logs: one line an event, no token in any of them, control characters made visible (design section 10)."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

from wscore.text import neutralise, redact


class LogFormat(StrEnum):
    """How a log line looks: `key=value` for people, JSON for machines."""

    TEXT = "text"
    JSON = "json"


class EventLog:
    """Logs named events with fields through the standard library's logger `wsctl`."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("wsctl")

    def debug(self, event: str, **fields: object) -> None:
        """Log what only a developer wants to see."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log the ordinary course of things."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log what an operator should look at."""
        self._log(logging.WARNING, event, fields)

    def failure(self, event: str, error: BaseException, **fields: object) -> None:
        """Log an unexpected exception with its traceback."""
        self._log(logging.ERROR, event, fields, error)

    def _log(self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields}, exc_info=error)


class _EventFormatter(logging.Formatter):
    """Turns a record into time, level, event and fields; a subclass renders them."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        # ASCII tokens survive any rendering, so redacting the finished line misses none.
        return redact(self.render(record, _timestamp(record), fields))

    def render(self, record: logging.LogRecord, time: str, fields: dict[str, Any]) -> str:
        raise NotImplementedError


class TextFormatter(_EventFormatter):
    """`2026-01-31T12:00:00.000Z INFO connection.opened user=alice peer=127.0.0.1`."""

    def render(self, record: logging.LogRecord, time: str, fields: dict[str, Any]) -> str:
        """Render one line."""
        words = [time, record.levelname, neutralise(record.getMessage())]
        words += [f"{name}={_word(value)}" for name, value in fields.items()]
        return " ".join(words)


class JsonFormatter(_EventFormatter):
    """One JSON object a line, non-ASCII escaped, so that no control character remains."""

    def render(self, record: logging.LogRecord, time: str, fields: dict[str, Any]) -> str:
        """Render one line."""
        event = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps({**event, **fields}, default=str)


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _word(value: object) -> str:
    text = neutralise(str(value))
    if text and not any(character in " \"'=" for character in text):
        return text
    return '"' + text.replace('"', '\\"') + '"'


def configure_logging(log_format: LogFormat, level: str, stream: TextIO | None = None) -> None:
    """Send every log record of the process to `stream` (standard error by default) in one format."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("wsctl").setLevel(level.upper())

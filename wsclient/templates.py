"""Variables in what is sent: `{{uuid}}`, `{{now}}`, `{{last.data.x}}` and others, filled in when it is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from wscore.envelope import Envelope
from wscore.errors import ConfigError
from wscore.messages import HEARTBEAT_TYPES

KNOWN: Final = (
    "{{uuid}}, {{now}}, {{isoNow}}, {{counter}}, {{last.type}}, {{last.id}}, {{last.sessionId}}, {{last.data.…}}"
)

_OWN_NAMES: Final = ("uuid", "now", "isoNow", "counter", "last")
_VARIABLE = re.compile(r"(\\?)\{\{\s*([^{}]*?)\s*\}\}")


class TemplateError(ConfigError):
    """A variable that cannot be filled in; `setting` names it with its place."""


class TemplateContext:
    """Where the values come from: the clock, a maker of UUIDs, and what `saw` was told of."""

    __slots__ = ("_captured", "_captures", "_counter", "_last", "_new_uuid", "_now_ms")

    def __init__(
        self, *, now_ms: Callable[[], int], new_uuid: Callable[[], str], captures: Mapping[str, str] | None = None
    ) -> None:
        self._captures = dict(captures or {})
        self._captured: dict[str, Any] = {}
        self._now_ms = now_ms
        self._new_uuid = new_uuid
        self._last: Envelope | None = None
        self._counter = 0

    def saw(self, envelope: Envelope | None) -> None:
        """Note what was received: the last one that is no heartbeat is `{{last}}`, and captures are made of it."""
        if envelope is None or envelope.type in HEARTBEAT_TYPES:
            return
        self._last = envelope
        for name, path in self._captures.items():
            self._take(name, path, envelope)

    def _take(self, name: str, path: str, envelope: Envelope | None) -> None:
        with suppress(LookupError):
            self._captured[name] = _walk(envelope, path.split("."))

    def capture(self, name: str, path: str, first: Envelope | None = None) -> None:
        """Keep from now on what stands at `path` of each message that has it as `{{name}}`, also of the `first`."""
        self._captures[name] = path
        self._captured.pop(name, None)
        self._take(name, path, first)

    @property
    def captures(self) -> Iterator[tuple[str, str, str | None]]:
        """Name and path of each variable that is captured, with its value as JSON, None while there is none."""
        for name, path in self._captures.items():
            value = self._captured.get(name, msgspec.UNSET)
            yield name, path, None if value is msgspec.UNSET else json.dumps(value, ensure_ascii=False)

    def missing(self, text: str) -> str | None:
        """Return the first variable of a text that is captured from a message which has not come yet."""
        names = (match[2] for match in _VARIABLE.finditer(text) if not match[1])
        return next((name for name in names if name in self._captures and name not in self._captured), None)

    def value(self, name: str) -> Any:
        """Return the value of a variable; raises LookupError saying why there is none."""
        if name in self._captures:
            if name not in self._captured:
                raise LookupError(f"has no value: no message had {self._captures[name]} yet")
            return self._captured[name]
        match name.split("."):
            case ["uuid"]:
                return self._new_uuid()
            case ["now"]:
                return self._now_ms()
            case ["isoNow"]:
                return datetime.fromtimestamp(self._now_ms() / 1000, UTC).isoformat(timespec="milliseconds")
            case ["counter"]:
                self._counter += 1
                return self._counter
            case ["last", *path] if path:
                return _walk(self._last, path)
            case _:
                raise LookupError(f"is not known; there are {KNOWN}")


def parse_capture(text: str) -> tuple[str, str]:
    """Return name and path of `NAME=PATH`; raises ConfigError."""
    name, _, path = text.partition("=")
    if not name.isidentifier() or name in _OWN_NAMES or not all(path.split(".")):
        raise ConfigError("--capture", f"{text!r} is not NAME=PATH", "write it as id=data.id; no name that is in use")
    if path.split(".")[0] not in ("type", "id", "sessionId", "data"):
        raise ConfigError("--capture", f"{path!r} is not in a message", "begin with data, id, type or sessionId")
    return name, path


def expand(text: str, context: TemplateContext) -> str:
    """Fill in the variables of a text; `\\{{` stays `{{`.

    Inside a JSON string a value is inserted as text, elsewhere in JSON as JSON. Raises TemplateError.
    """
    if "{{" not in text:
        return text
    is_json = text.lstrip().startswith(("{", "[", '"')) and not text.lstrip().startswith("{{")

    def fill(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        try:
            value = context.value(match[2])
        except LookupError as error:
            line = text.count("\n", 0, match.start()) + 1
            column = match.start() - text.rfind("\n", 0, match.start())
            place = f"line {line}, column {column}: {{{{{match[2]}}}}}"
            raise TemplateError(place, str(error.args[0])) from None
        if not is_json:
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if not _in_string(text, match.start()):
            return json.dumps(value, ensure_ascii=False)
        return json.dumps(
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), ensure_ascii=False
        )[1:-1]

    return _VARIABLE.sub(fill, text)


def _in_string(text: str, end: int) -> bool:
    """Tell whether a place in JSON text is inside a string."""
    inside, position = False, 0
    while position < end:
        if text[position] == "\\" and inside:
            position += 1
        elif text[position] == '"':
            inside = not inside
        position += 1
    return inside


def _walk(envelope: Envelope | None, path: list[str]) -> Any:
    if envelope is None:
        raise LookupError("has no value: nothing was received yet")
    try:
        data = json.loads(bytes(envelope.data) or b"null")
    except (ValueError, RecursionError):
        raise LookupError("has no value: the data of the last message is no JSON") from None
    value: Any = {"type": envelope.type, "id": envelope.id, "sessionId": envelope.session_id, "data": data}
    for depth, name in enumerate(path):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and len(name) < 10 and int(name) < len(value):
            value = value[int(name)]
        else:
            raise LookupError(f"has no value: the last message has no {'.'.join(path[: depth + 1])}")
    return value

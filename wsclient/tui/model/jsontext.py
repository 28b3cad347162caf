"""JSON laid out for reading, token by token: numbers, the order of members and doubled keys stay as they came."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from wscore.text import json_line, neutralise

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
# What stands for a variable while somebody still writes; as long as the variable, so that places stay true.
_VARIABLE = re.compile(r"\\?\{\{[^{}]*\}\}")


def is_json(text: str) -> bool:
    """Tell whether a text is JSON, of whatever size its numbers are."""
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def lay_out(text: str, write: Callable[[str, str], str], limit: int | None = None) -> str:
    """Return valid JSON with a member or element a line, ending early once it has more than `limit` characters.

    `write` makes what is shown of a string: it gets the token with its quotes and the key before it, if there is one.
    """
    pieces: list[str] = []
    depth = size = 0
    before = key = last_string = ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        piece = ""
        if token in ("}", "]"):
            depth -= 1
            if before not in ("{", "["):
                piece = "\n" + "  " * depth
        elif before in ("{", "[") or before == ",":
            piece = "\n" + "  " * depth
        elif before == ":":
            piece = " "
        if token == ":":
            key = last_string
        elif token in ("{", "["):
            depth += 1
        is_string = token.startswith('"')
        if is_string:
            last_string = token
        pieces.append(piece + (write(token, key if before == ":" else "") if is_string else token))
        size += len(pieces[-1])
        if limit is not None and size > limit:
            break
        before = token
    return "".join(pieces)


def readable(text: str) -> str:
    """Return valid JSON laid out with nothing left out, to be changed and sent: the same value to the last digit."""
    return lay_out(text, lambda token, key: json_line(token))


def shown_string(value: str) -> str:
    """Return a string as it is shown in JSON: without a control character in it."""
    return neutralise(json.dumps(value, ensure_ascii=False))


def json_problem(text: str) -> str | None:
    """Return what is wrong with text that means to be JSON, with the place, or None.

    A variable may stand where a value or a part of a string can; what it stands for is seen when it is sent.
    """
    if text.lstrip()[:1] not in ("{", "[") or text.lstrip().startswith("{{"):
        return None
    # Outside of strings a variable is a value or a key: a number is not the one, a text not always the other.
    problems = [_problem(_filled_in(text, value)) for value in ("0", '""')]
    return problems[0] if all(problems) else None


def _filled_in(text: str, value: str) -> str:
    return _VARIABLE.sub(lambda match: value.ljust(len(match[0])), text)


def _problem(text: str) -> str | None:
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as error:
        return str(error) or "nested too deeply"
    return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")

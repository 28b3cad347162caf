"""JSON that every receiver can read: valid JSON may hold numbers that JavaScript and Python cannot (section 15)."""

from __future__ import annotations

import math
import re
from array import array
from itertools import accumulate
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 128  # of arrays and objects: whoever reads a message does so far below, whatever called it
MAX_DIGITS: Final = 308  # in a row; a number with more is beyond a double, or holds nothing but noise

_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER: Final = b"0" * (MAX_DIGITS + 1)
# Every 30th byte of such a number is a digit, ten times in a row: a look at these alone finds nearly all texts clean.
_STRIDE: Final = 30
_SAMPLE: Final = b"0" * (MAX_DIGITS // _STRIDE)
_HARMLESS: Final = frozenset((str, int, bool, type(None), msgspec.Raw, msgspec.UnsetType))
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_PLAIN_STRING: Final = re.compile(rb'"[^"]*+"')  # once the escapes are out; of what is no JSON it takes no longer
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one deeper, or less deep, as a signed byte
_PAIR: Final = b"\x01\xff"
_FLAT: Final = 4  # levels that are taken off fast
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_EXPONENTS: Final = bytes.maketrans(b"123456789E", b"000000000e")
_LARGE_EXPONENT: Final = b"0e000"


def is_too_deep(text: bytes, most: int = MAX_DEPTH) -> bool:
    """Tell whether JSON is nested more than `most` levels deep; of what is none it may say either."""
    if len(text) <= most or text.count(b"[") + text.count(b"{") <= most:
        return False
    strings_out = _PLAIN_STRING.sub(b"", text.replace(b"\\\\", b"").replace(b'\\"', b""))
    brackets = strings_out.translate(_STEPS, _NO_BRACKETS)
    for _ in range(_FLAT):  # the innermost ones go, which are most of them
        brackets = brackets.replace(_PAIR, b"")
    return max(accumulate(array("b", brackets)), default=0) > most - _FLAT


def may_exceed_a_double(text: bytes) -> bool:
    """Tell whether valid JSON may hold a number beyond what a double holds."""
    return has_long_number(text) or _LARGE_EXPONENT in text.translate(_EXPONENTS, b"+")


def has_long_number(text: bytes) -> bool:
    """Tell whether valid JSON holds a number with more than MAX_DIGITS digits in a row; one in a string is none."""
    if len(text) <= MAX_DIGITS or _SAMPLE not in text[::_STRIDE].translate(_ZEROS):
        return False
    if _LONG_NUMBER not in text.translate(_ZEROS):
        return False
    return _LONG_NUMBER in _STRING.sub(b'""', text).translate(_ZEROS)


def holds_no_number(data: object) -> bool:
    """Tell whether data that can be encoded holds NaN or an infinity."""
    kind = type(data)
    if kind in _HARMLESS:
        return False
    if kind is float:
        return not math.isfinite(data)  # type: ignore[arg-type]
    parts: Any
    if kind is dict:
        parts = data.values()  # type: ignore[attr-defined]
    elif kind is list or kind is tuple:
        parts = data
    elif isinstance(data, msgspec.Struct):
        parts = msgspec.structs.astuple(data)
    else:
        parts = (_plain(data),)  # JSON knows no more than the kinds above
    for part in parts:  # noqa: SIM110  a loop takes half the time of any(), and many messages hold a null
        if type(part) not in _HARMLESS and holds_no_number(part):
            return True
    return False


def place_of_no_number(data: object) -> str | None:
    """Return the path of the first NaN or infinity in data that can be encoded, None if there is none."""
    return _place(_plain(data), "$.data")


def _plain(data: object) -> Any:
    return msgspec.to_builtins(data, str_keys=True, enc_hook=plain_of)


def plain_of(value: Any) -> Any:
    """Return what msgspec encodes in place of what it does not know: the plain values of a pydantic model.

    A raw slice, which it knows, holds JSON, and counts as null where there is nothing but values to look at. Raises
    TypeError for anything else.
    """
    if isinstance(value, msgspec.Raw):
        return None
    if hasattr(type(value), "__pydantic_validator__"):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def model_of(kind: type, value: Any) -> Any:
    """Return what msgspec reads plain values as that it does not know: a pydantic model.

    Raises ValueError with the place below `$`, and TypeError for any other type.
    """
    validator = getattr(kind, "__pydantic_validator__", None)
    if validator is None:
        raise TypeError(f"{kind.__name__} cannot be read from JSON")
    try:
        return validator.validate_json(msgspec.json.encode(value))
    except ValueError as error:
        problem, path = model_problem(error)
        raise ValueError(f"{problem} - at `${path}`") from None


def model_problem(error: Any) -> tuple[str, str]:
    """Return what pydantic found wrong first, and the path to it, such as `.items[3]`."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return problem["msg"], "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in problem["loc"])


def _place(value: Any, path: str) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    items: Any = ()
    if isinstance(value, dict):
        items = ((f"{path}.{key}", item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        items = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    return next((found for name, item in items if (found := _place(item, name)) is not None), None)

"""JSON that every receiver can read: valid JSON may hold numbers that JavaScript and Python cannot (section 15)."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from typing import Any, Final

import msgspec

# What a decoder raises for what it cannot read; what is too deep for it is a RecursionError.
NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
MAX_DEPTH: Final = 128  # of arrays and objects: whoever reads a message does so far below, whatever called it
MAX_DIGITS: Final = 308  # in a row; a number with more is beyond a double, or holds nothing but noise

_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER: Final = b"0" * (MAX_DIGITS + 1)
# Every 30th byte of such a number is a digit, ten times in a row: a look at these alone finds nearly all texts clean.
_STRIDE: Final = 30
_SAMPLE: Final = b"0" * (MAX_DIGITS // _STRIDE)
_HARMLESS: Final = frozenset((str, int, bool, type(None), msgspec.Raw, msgspec.UnsetType))
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one deeper, or less deep, as a signed byte
_PAIR: Final = b"\x01\xff"
_FLAT: Final = 4  # levels that are taken off fast
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_DIGITS: Final = bytes.maketrans(b"123456789.E", b"0000000000e")
# Below a hundred digits in a row and with two in its exponent a number is one that a double holds, and quick to read.
_LARGE_EXPONENT: Final = b"0e000"
_LONG_RUN: Final = b"0" * 100
_REST_OF_NUMBER: Final = re.compile(rb"0*+(?:e-?0++)?+")
_LARGE_NUMBER: Final = re.compile(rb"(?<![0-9.])[0-9.]++[eE][0-9]{3,}+")
_FEW: Final = 1000
MAX_LARGE_EXPONENTS: Final = 256  # of data that is decoded: as many take two milliseconds


def is_too_deep(text: bytes, most: int = MAX_DEPTH) -> bool:
    """Tell whether JSON is nested more than `most` levels deep; of what is none it may say either."""
    if len(text) <= most or text.count(b"[") + text.count(b"{") <= most:
        return False
    # Between two quotes that come to stand side by side there was nothing that counts, or nothing outside of strings.
    marks = text.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_BRACKETS).replace(b'""', b"")
    if b'"' in marks:
        marks = b"".join(marks.split(b'"')[::2])
    brackets = marks.translate(_STEPS)
    for _ in range(_FLAT):  # the innermost ones go, which are most of them
        brackets = brackets.replace(_PAIR, b"")
    return max(accumulate(array("b", brackets)), default=0) > most - _FLAT


def exceeds_a_double(text: bytes) -> bool:
    """Tell whether valid JSON holds a number beyond what a double holds; one in a string is none."""
    text = text.replace(b"+", b"")  # which is nothing to a number
    digits = text.translate(_DIGITS)
    count = digits.count(_LARGE_EXPONENT)
    if count > _FEW:
        strings_out = _STRING.sub(b'""', text)
        if math.inf in map(float, _LARGE_NUMBER.findall(strings_out)):
            return True
        return _LONG_RUN in digits and math.inf in _with_long_runs(strings_out)
    if (not count or math.inf not in _with_large_exponents(text, digits)) and (
        _LONG_RUN not in digits or math.inf not in _with_long_runs(text)
    ):
        return False
    strings_out = _STRING.sub(b'""', text)
    return math.inf in _with_large_exponents(strings_out, strings_out.translate(_DIGITS)) or (
        math.inf in _with_long_runs(strings_out)
    )


def has_many_large_exponents(text: bytes) -> bool:
    """Tell whether valid JSON holds many numbers with three digits in the exponent: each takes long to decode."""
    most = MAX_LARGE_EXPONENTS
    return _large_exponents(text) > most and _large_exponents(_STRING.sub(b'""', text)) > most


def _large_exponents(text: bytes) -> int:
    return text.translate(_DIGITS, b"+-").count(_LARGE_EXPONENT)


def _with_large_exponents(text: bytes, digits: bytes) -> Iterator[float]:
    before, *behind = digits.split(_LARGE_EXPONENT)
    at = len(before)
    for part in behind:
        start = at - len(before) + len(before.rstrip(b"0"))
        at += len(_LARGE_EXPONENT)
        with suppress(ValueError):  # in a string may be what looks like a number
            yield float(text[start : at + len(part) - len(part.lstrip(b"0"))])
        at += len(part)
        before = part


def _with_long_runs(text: bytes) -> Iterator[float]:
    digits = text.translate(_DIGITS)
    start = digits.find(_LONG_RUN)
    while start >= 0:
        end = _REST_OF_NUMBER.match(digits, start).end()  # type: ignore[union-attr]
        with suppress(ValueError):
            yield float(text[start:end])
        start = digits.find(_LONG_RUN, end)


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

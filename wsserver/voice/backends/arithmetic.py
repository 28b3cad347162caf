"""Sums in words and digits ("twelve times seven", "3 + 4"), worked out exactly. The rule responder calls it.

It parses a small grammar of its own: text that came from outside never reaches an interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from wscore.errors import WsctlError

MAX_TOKENS: Final = 64
MAX_DIGITS: Final = 15
_DECIMALS: Final = 6
_TOO_LARGE: Final = "That number is too large for me."

_SMALL: Final = {
    **{"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9},
    **{"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16},
    **{"seventeen": 17, "eighteen": 18, "nineteen": 19},
}
_TENS: Final = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80} | {
    "ninety": 90
}
_SCALES: Final = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}

# What people say for a sign, and what speech recognition writes for it.
_SIGNS: Final = tuple(
    (re.compile(said), f" {sign} ")
    for said, sign in (
        (r"\bto the power of\b|\*\*", "^"),
        (r"\bsquared\b|²", "^ 2"),
        (r"\bcubed\b|³", "^ 3"),
        (r"(?:%|\bpercent\b) of\b", "/ 100 *"),
        (r"\b(?:multiplied by|times)\b|×|(?<=[\d\s])x(?=\s*\d)", "*"),
        (r"\b(?:divided by|over)\b|÷", "/"),
        (r"\bplus\b", "+"),
        (r"\b(?:minus|negative)\b|−", "-"),
    )
)
_HYPHENATED: Final = re.compile(r"(?<=[a-z])-(?=[a-z])")
_TOKEN: Final = re.compile(
    r"\s*(?:"
    r"(?P<digits>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]*\.?[0-9]+)(?:\s+(?P<scale>thousand|million|billion)\b)?"
    r"|(?P<word>[a-z]+)"
    r"|(?P<sign>[-+*/^()]))"
)


class NotASumError(WsctlError):
    """The text is no sum from its beginning to its end."""


class SumError(WsctlError):
    """The text is a sum that has no answer, or none that can be said; `__str__` is a sentence that says why."""


def work_out(text: str) -> str:
    """Return the result in digits, rounded to 6 decimals; raises NotASumError or SumError."""
    tokens = list(_tokens(text.lower()))
    if len(tokens) < 2 or not any(isinstance(token, str) and token in "+-*/^" for token in tokens):
        raise NotASumError
    if len(tokens) > MAX_TOKENS:
        raise SumError("That is a longer sum than I can follow.")
    parser = _Parser(tokens)
    value = parser.sum()
    parser.expect_end()
    return _in_digits(value)


def _tokens(text: str) -> Iterator[Fraction | str]:
    """Yield numbers and operators; raises NotASumError at the first thing that is neither."""
    for said, sign in _SIGNS:
        text = said.sub(sign, text)
    text = _HYPHENATED.sub(" ", text).strip()
    words: list[str] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise NotASumError
        place = match.end()
        if match["word"] is not None:
            words.append(match["word"])
            continue
        if words:
            yield _number(words)
            words = []
        if match["digits"] is None:
            yield match["sign"]
        else:
            yield _limited(Fraction(match["digits"].replace(",", "")) * _SCALES.get(match["scale"], 1))
    if words:
        yield _number(words)


def _number(words: list[str]) -> Fraction:
    """Return what words like "two hundred and five point two" mean; raises NotASumError."""
    whole, point, decimals = " ".join(words).partition("point")
    digits = [_SMALL.get(word, 10) for word in decimals.split()]
    if bool(point) != bool(digits) or any(digit > 9 for digit in digits):
        raise NotASumError
    return _limited(Fraction(f"{_whole(whole.split()) if whole or not point else 0}.{''.join(map(str, digits)) or 0}"))


def _whole(words: list[str]) -> int:
    """Return what words like "two thousand one hundred and five" mean; raises NotASumError."""
    if words == ["zero"]:
        return 0
    total, scale = 0, 10**12
    group = 0  # what is counted below the next scale
    for place, word in enumerate(words):
        rest = group % 100
        if word == "a" and words[place + 1 : place + 2] in (["hundred"], ["thousand"], ["million"], ["billion"]):
            value = 1
        else:
            value = _SMALL.get(word, 0) or _TENS.get(word, 0)
        if value and (rest == 0 or (rest >= 20 and rest % 10 == 0 and value < 10)):
            group += value
        elif word == "hundred" and 0 < group < 100:
            group *= 100
        elif 0 < _SCALES.get(word, 0) < scale and group:
            scale = _SCALES[word]
            total, group = total + group * scale, 0
        elif word != "and" or not (total or group):
            raise NotASumError
    if not (total or group):
        raise NotASumError
    return total + group


class _Parser:
    """Recursive descent; as deep as the parentheses go, which MAX_TOKENS bounds."""

    def __init__(self, tokens: list[Fraction | str]) -> None:
        self._tokens = tokens
        self._place = 0

    def sum(self) -> Fraction:
        value = self._product()
        while (sign := self._take("+", "-")) is not None:
            term = self._product()
            value = _limited(value + term if sign == "+" else value - term)
        return value

    def expect_end(self) -> None:
        if self._place < len(self._tokens):
            raise NotASumError

    def _product(self) -> Fraction:
        value = self._signed()
        while (sign := self._take("*", "/")) is not None:
            factor = self._signed()
            if sign == "*":
                value = _limited(value * factor)
            elif factor == 0:
                raise SumError("Nothing can be divided by zero.")
            else:
                value /= factor
        return value

    def _signed(self) -> Fraction:
        if self._take("-") is not None:
            return -self._signed()
        return self._power()

    def _power(self) -> Fraction:
        base = self._atom()
        if self._take("^") is None:
            return base
        exponent = self._signed()
        if exponent.denominator != 1:
            raise SumError("I can only raise to whole powers.")
        if abs(exponent) > 100:
            raise SumError(_TOO_LARGE)
        if base == 0 and exponent < 0:
            raise SumError("Nothing can be divided by zero.")
        return _limited(base**exponent.numerator)

    def _atom(self) -> Fraction:
        if self._take("(") is not None:
            value = self.sum()
            if self._take(")") is None:
                raise NotASumError
            return value
        if self._place < len(self._tokens) and isinstance(token := self._tokens[self._place], Fraction):
            self._place += 1
            return token
        raise NotASumError

    def _take(self, *signs: str) -> str | None:
        if self._place < len(self._tokens) and (token := self._tokens[self._place]) in signs:
            self._place += 1
            return str(token)
        return None


def _limited(value: Fraction) -> Fraction:
    # The denominator counts too: it is what a tiny number is made of, and it grows with every factor.
    if abs(value) >= 10**MAX_DIGITS or value.denominator.bit_length() > 4_000:
        raise SumError(_TOO_LARGE)
    return value


def _in_digits(value: Fraction) -> str:
    scaled = round(value * 10**_DECIMALS)
    whole, decimals = divmod(abs(scaled), 10**_DECIMALS)
    text = f"{whole:,}.{decimals:0{_DECIMALS}}".rstrip("0").rstrip(".")
    about = "" if scaled == value * 10**_DECIMALS else "about "
    return f"{about}{'minus ' if scaled < 0 else ''}{text}"

"""What is looked for in JSON without building it is what a parser finds, whatever stands in strings."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator

import pytest

from wscore import jsonvalues
from wscore.jsonvalues import MAX_LARGE_EXPONENTS, exceeds_a_double, has_many_large_exponents, is_too_deep

TEXTS = [
    *('"1e999"', '"0e000..5e999"', '"..5e123"', '"1.2.3e999"', f'"{"1" * 320}"', '"1e"', '"E999"', '"\\"1e999"'),
    *('"["', '"]"', '"\\""', '"\\\\"', '"a\\"]["', '""', '"{\\\\\\"}"', '"a,[{"', "true", "null"),
]
KEYS = ["a", "[", "}", '\\"', "1e999", "\\\\", "é"]
LENGTHS = [1, 2, 3, 20, 99, 100, 101, 290, 300, 308, 309, 310]
EXPONENTS = ["1", "42", "299", "300", "307", "308", "309", "999", "1234", "000"]


class Writer:
    """Writes JSON that is as awkward as it can be."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def number(self) -> str:
        pick = self._random.choice
        digits = "".join(pick("0123456789") for _ in range(pick(LENGTHS)))
        whole = pick("123456789") + digits[1:] if self._random.random() < 0.8 else "0"
        fraction = pick(["", ".5", "." + "0" * 120 + "7"])
        exponent = pick("eE") + pick(["", "+", "-"]) + pick(["", "0", "000"]) + pick(EXPONENTS)
        return pick(["", "-"]) + whole + fraction + pick(["", exponent, exponent])

    def value(self, levels: int) -> str:
        kind = self._random.randrange(6)
        if levels <= 0 or kind < 3:
            return self.number() if kind % 2 else self._random.choice(TEXTS)
        values = [self.value(levels - 1) for _ in range(self._random.randrange(4))]
        if kind < 5:
            return f"[{','.join(values)}]"
        return "{" + ", ".join(f'"{self._random.choice(KEYS)}": {value}' for value in values) + "}"


def parts(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, list):
        for part in value:
            yield from parts(part)


def depth(value: object) -> int:
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def is_beyond_a_double(value: object) -> bool:
    try:
        return isinstance(value, (int, float)) and math.isinf(float(value))
    except OverflowError:
        return True


@pytest.mark.parametrize("few", [0, 1, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_numbers_and_depth_are_those_that_a_parser_finds(monkeypatch, few, seed):
    monkeypatch.setattr(jsonvalues, "_FEW", few)
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        writer = Writer(seed)
        found = 0
        for _ in range(1000):
            text = writer.value(5)
            read = json.loads(text, object_pairs_hook=lambda pairs: [value for _, value in pairs])
            beyond = any(map(is_beyond_a_double, parts(read)))
            found += beyond
            assert exceeds_a_double(text.encode()) == beyond, text
            for most in (4, 5):  # four levels are never looked at one by one
                assert is_too_deep(text.encode(), most) == (depth(read) > most), text
        assert 100 < found < 900
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("number", ["1e300", "-4.9E-324", "1.5e+289", "1e0300"])
def test_many_numbers_that_take_long_to_decode_are_found(number):
    text = "[" + ",".join([number] * MAX_LARGE_EXPONENTS) + "]"
    assert not has_many_large_exponents(text.encode())
    assert has_many_large_exponents(f"[{number},{text}]".encode())
    assert not has_many_large_exponents(json.dumps([text] * 3).encode()), "in strings they are none"
    assert not has_many_large_exponents(b"[" + b",".join([b"1e99"] * 1000) + b"]")

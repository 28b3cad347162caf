"""The rule responder and its sums: what people say, what speech recognition writes, and what would hurt."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.voice.backends.arithmetic import NotASumError, SumError, work_out
from wsserver.voice.backends.rules import HELP, RuleResponder
from wsserver.voice.stages import Role, Said

NOW = datetime(2026, 11, 3, 15, 7, tzinfo=UTC)


async def answer(text: str, now: datetime = NOW) -> str:
    history = [Said(Role.USER, "what is 1 plus 1"), Said(Role.ASSISTANT, "That is 2."), Said(Role.USER, text)]
    return "".join([piece async for piece in RuleResponder(lambda: now).respond(history)])


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("What time is it?", "It is 3:07 PM."),
        ("what’s the time", "It is 3:07 PM."),
        ("Could you tell me the time, please?", "It is 3:07 PM."),
        ("What day is it today?", "Today is Tuesday, November 3, 2026."),
        ("what's the date", "Today is Tuesday, November 3, 2026."),
        ("What day is tomorrow?", "Tomorrow is Wednesday, November 4, 2026."),
        ("what day was yesterday", "Yesterday was Monday, November 2, 2026."),
        ("What is 12 times 7?", "That is 84."),
        ("How much is two plus two", "That is 4."),
        ("7 divided by 0.", "Nothing can be divided by zero."),
        ("Hello!", "Hello. What can I do for you?"),
        ("Thank you.", "You are welcome."),
        ("Goodbye.", "Goodbye."),
        ("what can you do?", HELP),
        ("Go forward ten meters.", "You said: Go forward ten meters."),
        ("once upon a time", "You said: once upon a time"),
        ("What is love?", "You said: What is love?"),
    ],
)
async def test_rules(said, answered):
    assert await answer(said) == answered


@pytest.mark.parametrize(("hour", "told"), [(0, "12:07 AM"), (11, "11:07 AM"), (12, "12:07 PM"), (23, "11:07 PM")])
async def test_midnight_and_noon(hour, told):
    assert await answer("what time is it", NOW.replace(hour=hour)) == f"It is {told}."


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("twelve times seven", "84"),
        ("one hundred and five minus six point five", "98.5"),
        ("one million two hundred thousand plus 5 million", "6,200,000"),
        ("twenty-one plus a hundred", "121"),
        ("2 + 3 * 4", "14"),
        ("(2 + 3) * 4", "20"),
        ("2 ^ 3 ^ 2", "512"),
        ("-2^2", "minus 4"),
        ("5 - -3", "8"),
        ("6x7", "42"),
        ("15% of 80", "12"),
        ("1,000 plus 1", "1,001"),
        ("10 divided by 3", "about 3.333333"),
        ("0.1 + 0.2", "0.3"),
        ("nine squared", "81"),
    ],
)
def test_sums(text, result):
    assert work_out(text) == result


@pytest.mark.parametrize(
    "text",
    [
        *("", "seven", "-", "3 plus", "plus 3 plus", "six seven plus 1", "twenty twelve plus 1", "3 plus x", "a + b"),
        *("point plus 3", "1..2 + 3", "(1 + 2", "1 + 2)", "١ + ٢", "__import__('os') + 1", "one two three"),
    ],
)
def test_what_is_no_sum_is_not_half_understood(text):
    with pytest.raises(NotASumError):
        work_out(text)


@pytest.mark.parametrize(
    "text",
    [
        *("1 / 0", "0 ^ -1", "9 ^ 9 ^ 9", "2 ^ 99", "((9^14)^14)^14", "2 ^ 0.5", "9" * 3_900 + " + 1"),
        *("+".join("1" * 2_000), "(" * 2_000 + "1" + ")" * 2_000 + "+1", "1/3^100" + "*1/3^100" * 10),
    ],
)
def test_sums_without_an_answer_end_at_once_with_a_sentence(text):
    with pytest.raises(SumError, match=r"^[A-Z].*\.$"):
        work_out(text)


@given(st.text("0123456789.,+-*/^() xpointhundredminus", max_size=60))
def test_no_text_does_anything_else(text):
    with suppress(NotASumError, SumError):
        assert work_out(text)


@given(st.integers(-(10**6), 10**6), st.integers(0, 10**6), st.sampled_from("+-*"))
def test_whole_numbers_are_worked_out_exactly(left, right, sign):
    expected = {"+": left + right, "-": left - right, "*": left * right}[sign]
    result = work_out(f"{left} {sign} {right}")
    assert Fraction(result.replace(",", "").replace("minus ", "-")) == expected

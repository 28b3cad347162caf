"""What the marks of people's own users tell."""

from __future__ import annotations

import pytest

from loadtest.generator.marks import Marks


def faults(reader: Marks, *texts: str) -> list[str]:
    return [fault for text in texts for _, fault in reader.enter(text.encode())]


def test_what_comes_back_once_and_in_order_is_right():
    marks = Marks("run", 3)
    texts = [f"<{marks.new(is_shared=False)}>" for _ in range(4)]
    assert faults(marks, *texts) == [""] * 4
    assert faults(marks, "no mark", "wsctl.run.1.2.") == []


def test_what_comes_twice_or_out_of_order_is_told():
    marks = Marks("run", 3)
    first, second, third = (marks.new(is_shared=False) for _ in range(3))
    assert faults(marks, first, third, second) == ["", "", "reordered"]
    assert faults(marks, second, third) == ["duplicated", "duplicated"]


def test_several_marks_in_one_message_are_each_told():
    marks = Marks("run", 3)
    first, second = marks.new(is_shared=False), marks.new(is_shared=False)
    assert faults(marks, f'["{first}", "{second}", "{first}"]') == ["", "", "duplicated"]


def test_what_is_for_another_is_misdelivered_unless_it_is_shared():
    mine, theirs = Marks("run", 3), Marks("run", 4)
    assert faults(mine, theirs.new(is_shared=False)) == ["misdelivered"]
    shared = [theirs.new(is_shared=True) for _ in range(2)]
    assert faults(mine, *shared, shared[0]) == ["", "", "duplicated"]


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda mark: mark.replace("run", "nur"), "unknown"),
        (lambda mark: mark.replace(".3.", ".4.", 1), "corrupt"),
        (lambda mark: mark.replace(".1.", ".2.", 1), "corrupt"),
        (lambda mark: mark.replace(".0.", ".1.", 1), "corrupt"),
        (lambda mark: mark[:-4], "corrupt"),
        (lambda mark: mark[:-1] + "x", "corrupt"),
    ],
)
def test_a_mark_that_is_not_as_it_was_given_is_told(damage, fault):
    marks = Marks("run", 3)
    assert faults(marks, damage(marks.new(is_shared=False))) == [fault]


def test_a_mark_that_nobody_has_given_yet_is_unknown():
    assert faults(Marks("run", 3), Marks("run", 3).new(is_shared=False)) == ["unknown"]


def test_the_own_mark_in_a_message_is_found():
    marks, other = Marks("run", 3), Marks("run", 4)
    text = marks.new(is_shared=False)
    assert marks.own(f"{other.new(is_shared=True)} {text}".encode()) == (text.encode(), 1)
    assert marks.own(b"hello") is None

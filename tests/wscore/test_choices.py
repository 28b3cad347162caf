"""What is told of a value that is none of those which its place may have."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec
import pytest

from wscore.envelope import InvalidMessageError, decode_data


class Size(enum.Enum):
    SMALL = "S"
    LARGE = "L"


class Item(msgspec.Struct, rename="camel"):
    item_size: Size


class Order(msgspec.Struct):
    status: Literal["placed", "paid"] = "placed"
    items: list[Item] = []
    by_name: dict[str, Item | None] = {}
    count: Literal[1, 2] | None = None


SIZES = """must be one of "S", "L" - at"""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"status": "payd"}, """Invalid enum value 'payd', must be one of "paid", "placed" - at `$.data.status`"""),
        (
            {"items": [{"itemSize": "S"}, {"itemSize": "M"}]},
            f"Invalid enum value 'M', {SIZES} `$.data.items[1].itemSize`",
        ),
        ({"by_name": {"a": {"itemSize": "M"}}}, f"Invalid enum value 'M', {SIZES} `$.data.by_name[...].itemSize`"),
        ({"count": 3}, "Invalid enum value 3, must be one of 1, 2 - at `$.data.count`"),
        (
            {"status": "` - at `$.count"},
            """Invalid enum value '` - at `$.count', must be one of "paid", "placed" - at `$.data.status`""",
        ),
        ({"status": 1}, "Expected `str`, got `int` - at `$.data.status`"),
    ],
)
def test_the_values_are_named(data, words):
    with pytest.raises(InvalidMessageError) as refused:
        decode_data(msgspec.Raw(msgspec.json.encode(data)), Order)
    assert str(refused.value) == words


def test_they_are_named_where_the_data_itself_is_one_and_not_where_they_are_many():
    with pytest.raises(
        InvalidMessageError, match=r"""^Invalid enum value 'M', must be one of "S", "L" - at `\$\.data`$"""
    ):
        decode_data(msgspec.Raw(b'"M"'), Size)
    many = enum.Enum("many", [f"a{number}" for number in range(21)])
    with pytest.raises(InvalidMessageError, match=r"^Invalid enum value 0 - at `\$\.data`$"):
        decode_data(msgspec.Raw(b"0"), many)

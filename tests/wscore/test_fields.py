"""Misspelt fields are named with the one that is meant; all other fields pass, and so does what is no object."""

from __future__ import annotations

import dataclasses
from typing import Any, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wscore.fields import FieldNames
from wscore.payloads import AudioChunk, AudioStart


class Dictionary(TypedDict, total=False):
    sampleRate: int


@dataclasses.dataclass
class Data:
    sampleRate: int = 0  # noqa: N815


def misspelt(data_type: Any, value: object) -> str | None:
    names = FieldNames.of(data_type)
    assert names is not None
    return names.misspelt(msgspec.Raw(msgspec.json.encode(value)))


@pytest.mark.parametrize("data_type", [AudioStart, AudioStart | None, Dictionary, Data], ids=str)
@pytest.mark.parametrize("name", ["sample_rate", "samplerate", "SampleRate", "sample-rate", "sampelRate", "sampleRat"])
def test_a_name_that_is_nearly_another_is_told(data_type, name):
    told = misspelt(data_type, {name: 48_000})
    assert told == f"Object contains unknown field `{name}`, is `sampleRate` meant?"


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"sampleRate": 8_000, "sample_rate": 8_000},
        {"rate": 8_000, "codec": "opus", "s": 1, "x" * 100: 1, "sample" + "_" * 100 + "rate": 1},
        None,
        [{"sample_rate": 1}],
        "sample_rate",
    ],
    ids=str,
)
def test_everything_else_passes(value):
    assert misspelt(AudioStart | None, value) is None


def test_short_names_are_not_alike():
    class Said(msgspec.Struct):
        text: str = ""
        id: str = ""

    assert misspelt(Said, {"test": 1, "ids": 1}) is None
    assert misspelt(Said, {"ID": 1}) is not None


@pytest.mark.parametrize("data_type", [Any, int, dict, list[AudioStart], msgspec.Raw, dict[str, int] | None], ids=str)
def test_what_has_no_fields_has_no_names(data_type):
    assert FieldNames.of(data_type) is None


@given(st.binary(max_size=60))
def test_no_bytes_raise(data):
    names = FieldNames.of(AudioChunk)
    assert names is not None
    assert names.misspelt(msgspec.Raw(b"{" + data)) is None or b'"' in data

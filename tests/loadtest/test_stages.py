"""Stages as people write them."""

from __future__ import annotations

import pytest

from loadtest.stages import parse_stages
from loadtest.wire import LoadStage
from wscore.errors import ConfigError


def test_each_stage_is_a_number_of_connections_and_a_duration():
    assert parse_stages("100:30s, 500:1m,20:1.5s") == (LoadStage(100, 30), LoadStage(500, 60), LoadStage(20, 1.5))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is not CONNECTIONS:DURATION"),
        ("100", "'100' is not CONNECTIONS:DURATION"),
        ("100:30s,", "'' is not CONNECTIONS:DURATION"),
        ("100:30", "such as 500ms or 25s"),
        ("0:30s", "'0' is not a number of connections"),
        ("-5:30s", "'-5' is not a number of connections"),
        ("1e3:30s", "'1e3' is not a number of connections"),
        ("٣:30s", "is not a number of connections"),
        ("9999999999:30s", "is not a number of connections"),
        ("10:0s", "lasts no time"),
    ],
)
def test_what_is_no_stage_is_named(text, problem):
    with pytest.raises(ConfigError) as caught:
        parse_stages(text)
    assert str(caught.value).startswith("--stages: ")
    assert problem in str(caught.value)

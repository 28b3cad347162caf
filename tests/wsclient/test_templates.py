"""Variables in what is sent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsclient.dialling import read_envelope
from wsclient.templates import TemplateContext, TemplateError, expand


@pytest.fixture
def context():
    made = TemplateContext(now_ms=lambda: 1_700_000_000_000, new_uuid=lambda: "u-u-i-d")
    made.saw(read_envelope('{"type":"rooms","timestamp":1,"id":"r1","data":{"x":[1,{"y":"a\\"b"}],"n":null}}'))
    made.saw(read_envelope('{"type":"ping","timestamp":1}'))
    made.saw(None)
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no variable", "no variable"),
        ("{{uuid}} at {{ now }}", "u-u-i-d at 1700000000000"),
        ("{{isoNow}}", "2023-11-14T22:13:20.000+00:00"),
        ("{{counter}} {{counter}}", "1 2"),
        ('{"id": "{{uuid}}", "at": {{now}}}', '{"id": "u-u-i-d", "at": 1700000000000}'),
        ('{"id": {{uuid}}}', '{"id": "u-u-i-d"}'),
        ('{"y": "<{{last.data.x.1.y}}>"}', '{"y": "<a\\"b>"}'),
        ('{"x": {{last.data.x}}}', '{"x": [1, {"y": "a\\"b"}]}'),
        ('{"x": "{{last.data.x.0}}"}', '{"x": "1"}'),
        ("{{last.data.n}}", "null"),
        ("{{last.type}} {{last.id}}", "rooms r1"),
        (r"\{{uuid}}", "{{uuid}}"),
        ('{"a": "\\"{{counter}}"}', '{"a": "\\"1"}'),
    ],
)
def test_what_a_variable_becomes(context, text, expected):
    assert expand(text, context) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{nonsense}}", "line 1, column 1: {{nonsense}}: is not known; there are {{uuid}}"),
        ("a\n {{last.data.q}}", "line 2, column 2: {{last.data.q}}: has no value: the last message has no data.q"),
        ("{{last}}", "is not known"),
        ("{{last.data.x.9}}", "has no data.x.9"),
        ("{{last.data.x." + "0" * 5000 + "}}", "has no data.x.0"),
    ],
)
def test_a_variable_without_a_value_is_named_with_its_place(context, text, problem):
    with pytest.raises(TemplateError) as error:
        expand(text, context)
    assert problem in str(error.value)


def test_nothing_received_yet_is_said():
    context = TemplateContext(now_ms=lambda: 0, new_uuid=str)
    with pytest.raises(TemplateError, match="nothing was received yet"):
        expand("{{last.data.x}}", context)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_value_fits_into_json(value):
    context = TemplateContext(now_ms=lambda: 0, new_uuid=str)
    context.saw(read_envelope(json.dumps({"type": "m", "timestamp": 1, "data": value})))
    assert json.loads(expand('{"a": "x{{last.data}}", "b": {{last.data}}}', context)) == {"a": f"x{value}", "b": value}

"""What leaves the composer: exactly what was sent before or is written now, checked before it goes."""

from __future__ import annotations

import base64
import json

import pytest

from wsclient.tui.model.checking import problem_of
from wsclient.tui.model.history import Draft, Form
from wsclient.tui.model.jsontext import is_json, json_problem, readable
from wscore.foreign import ProtocolName, ProtocolSettings, wsctl_adapter
from wscore.wallclock import now_ms


def sent(terminal) -> list[str]:
    ring = terminal.screen._ring
    records = [ring.get(number).record for number in range(ring.first, ring.count)]
    return [record.text for record in records if record is not None and record.is_sent and '"ping"' not in record.text]


@pytest.mark.parametrize(
    "data",
    [
        json.dumps("x" * 5000),
        '{"audioData":"' + base64.b64encode(b"7 bytes").decode() + '"}',
        '{"price":1.10,"big":123456789012345678901234567890,"exp":1E5,"nothing":-0.0}',
        pytest.param('{"a":1,"a":2}', marks=pytest.mark.slow),
        '{"escaped":"\\u00e9\\/\\u202e","raw":"é"}',
        pytest.param("[[],{},[{}]]", marks=pytest.mark.slow),
        pytest.param('"[{,:}]"', marks=pytest.mark.slow),
    ],
    ids=["long", "audio", "numbers", "twice", "escapes", "empty", "punctuation"],
)
async def test_edit_again_sends_what_was_sent(server, peer, open_terminal, data):
    frame = f'{{"type":"message","timestamp":1.0,"id":"mine","data":{data}}}'.replace("1.0,", "1,")
    async with open_terminal(server.url) as terminal:
        terminal.screen.composer.draft = Draft("message", frame)
        terminal.screen.composer.focus_data()
        await terminal.press("ctrl+j")
        await terminal.until(lambda: sent(terminal))
        await terminal.press("escape", "f", *"dir:out", "space", *"mine", "enter")
        await terminal.press("r", "ctrl+j")
        await terminal.until(lambda: len(sent(terminal)) == 2)
        first, again = sent(terminal)
    assert first == frame
    assert "".join(again.split()) == "".join(frame.split())


def test_what_is_laid_out_is_what_python_lays_out_too():
    value = {"a": [1, {"b": []}, "x,y:[{"], "c": {}, "d": None, "e": {"f": True}}
    assert readable(json.dumps(value)) == json.dumps(value, indent=2)


async def test_data_goes_as_it_was_typed_on_one_line(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        await terminal.type('{"p": 1.10,\n"n": 123456789012345678901234567890, "n": 1E5}')
        await terminal.press("ctrl+j")
        await terminal.until(lambda: sent(terminal))
        assert '"data":{"p":1.10,"n":123456789012345678901234567890,"n":1E5}' in sent(terminal)[0]


@pytest.mark.slow
async def test_the_detail_shows_numbers_as_they_came(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        await terminal.type('{"type":"message","data":{"p":1.10,"n":100000000000000000000001,"e":1E40}}')
        await terminal.press("ctrl+j", "escape")
        await terminal.until(lambda: terminal.rows().count("message") == 2)
        await terminal.press("enter")
        await terminal.shows('"p": 1.10,', '"n": 100000000000000000000001,', '"e": 1E40')


@pytest.mark.parametrize("text", ["{not json", "[x]", '{"a": {{last.data.x}}', "{"])
async def test_text_that_only_looks_like_json_can_be_sent_as_text(server, peer, open_terminal, text):
    text = text.replace("{{last.data.x}}", "x")
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        await terminal.type(text)
        await terminal.press("ctrl+j")
        assert not sent(terminal)
        await terminal.press("f8")
        await terminal.shows("as text")
        await terminal.press("ctrl+j")
        assert await peer.receive() == text


async def test_nothing_is_not_sent_as_an_empty_text(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c", "ctrl+j", "space", "ctrl+j")
        await terminal.shows("there is nothing to send")
        assert not sent(terminal)
        terminal.screen.query_one("#type").value = "audio_clear"
        await terminal.press("ctrl+j")
        await terminal.until(lambda: sent(terminal))
        assert '"data"' not in sent(terminal)[0]
        assert json.loads(sent(terminal)[0])["type"] == "audio_clear"


async def test_a_type_is_checked_before_it_is_sent(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        await terminal.type("hello")
        terminal.screen.query_one("#type").value = "not a type"
        await terminal.shows("a type is 1 to 64 of")
        await terminal.press("ctrl+j")
        assert not sent(terminal)
        terminal.screen.query_one("#type").value = "chat.send"
        await terminal.press("ctrl+j")
        await terminal.until(lambda: sent(terminal))


async def test_broken_json_with_a_variable_in_it_is_not_sent(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        await terminal.type('{"n": {{counter}},}')
        await terminal.shows("line 1, column 19")
        await terminal.press("ctrl+j")
        assert not sent(terminal)


async def test_what_a_variable_makes_of_json_is_checked_when_it_is_sent(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await peer.send({"x": {"deep": 1}})
        await terminal.shows('"deep":1')
        await terminal.press("c")
        await terminal.type("{ {{last.data.x}}: 1}")
        await terminal.press("ctrl+j")
        await terminal.says("not sent: line 1, column")
        assert not sent(terminal)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": {{counter}}, "b": "x {{uuid}}"}', None),
        ("{ {{uuid}}: 1}", None),
        ("{{uuid}}", None),
        ('{"a": \\{{counter}}}', None),
        ('{"a": {{counter}} 1}', "line 1, column 19: Expecting ',' delimiter"),
        ('{"a": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"n": ' + "1" * 5000 + "}", None),
        ("text", None),
    ],
)
def test_variables_stand_where_values_and_keys_can(text, problem):
    found = json_problem(text)
    assert found == problem or (problem == "nested too deeply" and "recursion" in found)


def test_a_server_of_another_make_has_types_of_its_own():
    draft = Draft("with space", "x")
    ours, phoenix = wsctl_adapter(now_ms), ProtocolSettings(name=ProtocolName.PHOENIX).adapter(now_ms)
    assert problem_of(draft, ours) is not None
    assert problem_of(draft, phoenix) is None
    assert problem_of(Draft("with space", '{"type": "ok"}'), ours) is None


async def test_drafts_are_kept_with_what_they_are(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c", "f8", *"[x", "ctrl+j")
        await terminal.until(lambda: sent(terminal))
    async with open_terminal(server.url) as terminal:
        await terminal.press("c", "up")
        assert terminal.screen.composer.draft == Draft("message", "[x", Form.TEXT)


@pytest.mark.parametrize("unseen", ["\u200b", "\u2060", "\u202e", "\x1b", "\xad", "\U000e0041"], ids=ascii)
async def test_the_composer_shows_what_nobody_would_see_and_sends_it(server, peer, open_terminal, unseen):
    async with open_terminal(server.url) as terminal:
        terminal.screen.composer.draft = Draft("message", f"a{unseen}b")
        terminal.screen.composer.focus_data()
        await terminal.shows("a\N{REPLACEMENT CHARACTER}b")
        await terminal.press("ctrl+j")
        assert await peer.receive() == f"a{unseen}b"
        shown = {"\x1b": "\\u001b"}.get(unseen, unseen.encode("unicode-escape").decode())
        await terminal.shows(f'"a{shown}b"')


def test_no_json_is_taken_for_json_and_the_other_way_round():
    assert is_json("1" * 5000)
    assert not is_json("{")
    assert not is_json("[" * 100_000)

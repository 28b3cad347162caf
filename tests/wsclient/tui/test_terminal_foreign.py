"""The terminal client and servers of other makes: what is sent is what the server gets, whatever it speaks."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass

import cbor2
import msgspec
import pytest

from wsclient.frametext import text_of_frame
from wsclient.recording import Record, read_guessed
from wsclient.tui.io.editing import send_line
from wsclient.tui.model.checking import problem_of
from wsclient.tui.model.history import Draft, Form
from wsclient.tui.model.ring import MessageRing
from wscore.foreign import Frame, ProtocolName, ProtocolSettings, wsctl_adapter
from wscore.wallclock import now_ms

F8 = {Form.TEXT: 1, Form.FRAME: 2, Form.HEX: 3, Form.BASE64: 4, Form.FILE: 5}
ABC = msgspec.msgpack.encode({"event": "abc", "payload": {"n": 1}})


@dataclass
class Echo:
    """An echo of text and binary, and what it got."""

    url: str
    got: list[Frame]


@pytest.fixture
async def echo(faults) -> Echo:
    got: list[Frame] = []

    async def script(peer):
        async for frame in peer.ws:
            got.append(frame)
            await peer.raw(frame)

    return Echo((await faults(script)).url.replace("socket.io/", ""), got)


async def compose(terminal, text: str, form: Form = Form.AUTO) -> None:
    await terminal.press("escape", "c", *["f8"] * F8.get(form, 0))
    await terminal.type(text)
    await terminal.press("ctrl+j")


async def test_to_a_server_of_another_make_goes_what_was_typed_and_no_type_is_asked_for(echo, open_terminal):
    async with open_terminal(echo.url, session=None) as terminal:
        await terminal.until(lambda: not terminal.screen.query_one("#type").display)
        await compose(terminal, "hello")
        await terminal.until(lambda: len(echo.got) == 1)
        await compose(terminal, '{"event":"a","x":1.10}')
        await terminal.until(lambda: terminal.rows().count("a") == 2)
        await compose(terminal, '{"event":')
        await terminal.shows("line 1, column 10")
        await terminal.press("f8", "ctrl+j")
        await terminal.until(lambda: len(echo.got) == 3)
    assert echo.got == ["hello", '{"event":"a","x":1.10}', '{"event":']


async def test_a_wsctl_server_gets_envelopes_with_a_type_and_no_binary_frames(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        assert terminal.screen.query_one("#type").display
        await compose(terminal, "01 ff", Form.HEX)
        await terminal.shows("a wsctl server takes no binary frames")
        await terminal.press(*["f8"] * 3)
        await terminal.press("ctrl+j")
        assert await peer.receive() == "01 ff"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Form.HEX, ABC.hex(" ")),
        pytest.param(Form.BASE64, base64.b64encode(ABC).decode(), marks=pytest.mark.slow),
        pytest.param(Form.FILE, "", marks=pytest.mark.slow),
    ],
)
async def test_bytes_are_written_as_hex_as_base64_or_come_from_a_file(echo, open_terminal, tmp_path, form, text):
    path = tmp_path / "a.bin"
    path.write_bytes(ABC)
    async with open_terminal(echo.url, session=None) as terminal:
        await compose(terminal, text or str(path), form)
        await terminal.until(lambda: terminal.rows().count("abc") == 2)
        await terminal.press("escape", "enter")
        await terminal.shows("MessagePack", '"n": 1', "event.abc.payl|")
        await terminal.press("r")
        await terminal.until(lambda: terminal.screen.composer.draft.form is Form.HEX)
        await terminal.press("ctrl+j")
        await terminal.until(lambda: len(echo.got) == 2)
    assert echo.got == [ABC, ABC]


@pytest.mark.parametrize(("text", "form"), [("1", Form.HEX), ("xyz", Form.HEX), ("!", Form.BASE64), ("", Form.FILE)])
async def test_what_is_no_bytes_is_told_while_it_is_written_and_not_sent(echo, open_terminal, text, form):
    async with open_terminal(echo.url, session=None) as terminal:
        await compose(terminal, text, form)
        await terminal.shows("is not hex" if form is Form.HEX else "is not base64" if text else "nothing to send")
    assert echo.got == []


async def test_a_file_that_is_not_there_is_told_with_its_name(echo, open_terminal):
    async with open_terminal(echo.url, session=None) as terminal:
        await compose(terminal, "/no/such.bin", Form.FILE)
        await terminal.says("/no/such.bin: No such file")
    assert echo.got == []


async def test_a_frame_of_phoenix_is_composed_and_sent_again_as_it_was(faults, open_terminal):
    got = []

    async def script(peer):
        async for frame in peer.ws:
            got.append(json.loads(frame))
            join, ref, topic = got[-1][:3]
            await peer.raw(json.dumps([join, ref, topic, "phx_reply", {"status": "ok", "response": {"id": 7}}]))

    server = await faults(script)
    protocol = ProtocolSettings(name=ProtocolName.PHOENIX)
    async with open_terminal(server.url, session=None, protocol=protocol) as terminal:
        assert terminal.screen.query_one("#type").display
        await terminal.until(lambda: terminal.screen.composer.draft.type == "new_msg")
        await compose(terminal, '{"a":1.10}')
        await terminal.until(lambda: terminal.rows()[-2:] == ["new_msg", "phx_reply"])
        await terminal.press("escape", "f", *"type:new_msg", "enter", "r", "ctrl+j")
        await terminal.until(lambda: len(got) == 3)
    assert got[1] == got[2]
    assert got[1][3:] == ["new_msg", {"a": 1.1}]


async def test_4001_of_another_server_is_not_explained_as_ours(faults, open_terminal):
    async def script(peer):
        await peer.raw('{"event":"hi"}')
        await peer.close(4001, "Session expired")

    server = await faults(script)
    async with open_terminal(server.url, session=None, token=False) as terminal:
        await terminal.shows("4001", "Session expired")
        text = terminal.screen_text()
    assert "token" not in text.lower()
    assert "AUTH" not in text


def test_the_copied_command_sends_the_same_frame():
    def of(frame: Frame) -> Record:
        text, binary = text_of_frame(frame)
        return Record(1, True, text, read_guessed(frame).message, binary)

    phoenix = ProtocolSettings(name=ProtocolName.PHOENIX).adapter(now_ms)
    assert send_line(of(b"\x01\xff"), None) == "wsctl connect --hex --send '01ff'"
    assert send_line(of("[1]"), phoenix) == "wsctl connect --raw --send '[1]'"
    assert send_line(of("[1]"), wsctl_adapter(now_ms)) == "wsctl connect --send '[1]'"


def test_a_binary_frame_counts_with_its_bytes():
    frame = cbor2.dumps({"x": ["y" * 1000] * 1000})
    ring = MessageRing()
    text, binary = text_of_frame(frame)
    entry = ring.add_record(Record(1, False, text, read_guessed(frame).message, binary))
    assert entry.size_bytes == len(frame)
    assert entry.memory_bytes >= sys.getsizeof(frame) + len(frame) + sys.getsizeof(text)


def test_a_draft_with_variables_is_checked_when_they_are_filled_in():
    raw = ProtocolSettings(name=ProtocolName.RAW).adapter(now_ms)
    assert problem_of(Draft("", "{{bytes}}", Form.HEX), raw) is None
    assert problem_of(Draft("", "{{bytes", Form.FRAME), raw) is None
    assert problem_of(Draft("", "{x"), raw) is None
    assert problem_of(Draft("", "0", Form.HEX), raw) is not None


@pytest.mark.slow
async def test_a_value_is_captured_from_the_selected_message_and_from_those_that_come(echo, open_terminal):
    async with open_terminal(echo.url, session=None) as terminal:
        await compose(terminal, '{"event":"made","payload":{"id":7}}')
        await terminal.until(lambda: terminal.rows().count("made") == 2)
        await terminal.press("escape", "v", "ctrl+u", *"room", "equals_sign", *"data", "enter")
        await terminal.shows("{{room}}", "data", '{"id": 7}')
        await terminal.press("v", "ctrl+u", *"bad", "enter")
        await terminal.shows("'bad' is not NAME=PATH")
        await terminal.press("ctrl+u")
        await terminal.type("room=data.id")
        await terminal.press("enter")
        await compose(terminal, '{"event":"join","payload":{"room":{{room}}}}')
        await terminal.until(lambda: len(echo.got) == 2)
        await compose(terminal, '{"event":"made","payload":{"id":8}}')
        await terminal.shows("{{room}}", "data.id", " 8")
        await terminal.press("escape", "f7")
        await terminal.until(lambda: "{{room}}" not in terminal.screen_text())
    assert echo.got[1] == '{"event":"join","payload":{"room":7}}'


async def test_what_the_command_line_captures_is_there_from_the_start(echo, open_terminal):
    async with open_terminal(echo.url, session=None, captures={"room": "data.id"}) as terminal:
        await terminal.press("f7")
        await terminal.shows("{{room}}", "no message had it yet")
        await compose(terminal, "{{room}}")
        await terminal.says("no message had data.id yet")
        await terminal.press("ctrl+u")
        await compose(terminal, '{"event":"made","payload":{"id":7}}')
        await terminal.until(lambda: terminal.rows().count("made") == 2)
        await compose(terminal, "room {{room}}")
        await terminal.until(lambda: len(echo.got) == 2)
    assert echo.got[1] == "room 7"

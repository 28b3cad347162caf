"""Recordings: what is written can be read, byte for byte and line by line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsclient.dialling import read_envelope
from wsclient.recording import Record, Recorder, RecordingError, line_of, read_record, read_recording

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def record(text: str, at_ms: int = 5, *, is_sent: bool = False) -> Record:
    return Record(at_ms, is_sent, text, read_envelope(text))


@given(data=JSON, at_ms=st.integers(0, 2**53 - 1), is_sent=st.booleans(), indent=st.sampled_from([None, 1]))
def test_an_envelope_comes_back_as_it_was(data, at_ms, is_sent, indent):
    text = json.dumps({"type": "message", "timestamp": 1, "data": data}, indent=indent)
    line = line_of(record(text, at_ms, is_sent=is_sent))
    assert "\n" not in line
    again = read_record(line)
    assert (again.at_ms, again.is_sent, json.loads(again.text)) == (at_ms, is_sent, json.loads(text))
    if indent is None:
        assert bytes(again.envelope.data) == bytes(read_envelope(text).data)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_text_that_is_no_envelope_comes_back_too(text):
    assert read_record(line_of(record(text))).text == text or read_envelope(text) is not None


def test_a_line_is_the_envelope_with_one_member_more():
    text = '{"type":"message","timestamp":1,"data":{"n":1.0}}'
    assert line_of(record(text)) == '{"type":"message","timestamp":1,"data":{"n":1.0},"receivedAtMs":5}'
    assert line_of(record(text, is_sent=True)).endswith(',"sentAtMs":5}')


@pytest.mark.parametrize(
    "forged",
    [
        '"sentAtMs":99',
        '"receivedAtMs":1,"sentAtMs":99',
        '"sentAtMs":99,"receivedAtMs":1,"sentAtMs":98',
        '"sentAtMs":"x"',
        '"text":"x","sentAtMs":99',
        '"x":{"sentAtMs":99}',
    ],
)
def test_a_server_cannot_forge_when_and_from_where_a_message_came(forged):
    text = f'{{"type":"message","timestamp":1,"data":1,{forged}}}'
    again = read_record(line_of(record(text, 5)))
    assert (again.at_ms, again.is_sent, again.text) == (5, False, text)


@pytest.mark.parametrize("data", ["1" * 5000, "[" * 900 + "]" * 900, "1e999", '"\\u0000"'], ids=lambda data: data[:5])
def test_no_data_of_a_server_makes_a_recording_unreadable(data):
    text = f'{{"type":"message","timestamp":1,"data":{data}}}'
    assert read_record(line_of(record(text))).text == text


def test_no_control_character_reaches_a_line():
    line = line_of(record('{"type":"message","timestamp":1,\n"data":"\x7f\u202e"}'))
    assert line == '{"type":"message","timestamp":1, "data":"\\u007f\\u202e","receivedAtMs":5}'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "is not JSON"),
        ("[1]", "is not an object"),
        ('{"type":"message","timestamp":1}', "neither receivedAtMs nor sentAtMs"),
        ('{"type":"message","timestamp":1,"sentAtMs":"x"}', "is not a time"),
        ('{"type":"message","timestamp":1,"sentAtMs":true}', "is not a time"),
        ('{"type":"message","timestamp":1,"sentAtMs":-1}', "is not a time"),
        ('{"type":"message","timestamp":1,"sentAtMs":1' + "0" * 400 + "}", "is not a time"),
        ('{"text":"\\ud800","sentAtMs":1}', "is not JSON"),
        ("[" * 100_000, "is not"),
    ],
)
def test_a_line_that_is_none_is_named_with_its_place(tmp_path, line, problem):
    path = tmp_path / "r.jsonl"
    path.write_text('{"type":"ping","timestamp":1,"sentAtMs":1}\n' + line + "\n")
    with pytest.raises(RecordingError, match=rf"r\.jsonl:2: .*{problem}"):
        list(read_recording(path))


def test_files_that_cannot_be_read_or_written_are_named(tmp_path):
    with pytest.raises(RecordingError, match="No such file"):
        list(read_recording(tmp_path / "missing"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"type":"\xe9"}')
    with pytest.raises(RecordingError, match="is not UTF-8"):
        list(read_recording(tmp_path / "latin.jsonl"))
    with pytest.raises(RecordingError, match="exists already"):
        Recorder(tmp_path / "latin.jsonl")
    with pytest.raises(RecordingError, match="No such file"):
        Recorder(tmp_path / "no" / "folder")
    with pytest.raises(RecordingError, match="Is a directory"):
        Recorder(tmp_path)


def test_an_empty_file_and_a_device_can_be_recorded_to(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    for path in (tmp_path / "empty.jsonl", Path("/dev/null")):
        recorder = Recorder(path)
        recorder.write(record('{"type":"ping","timestamp":1}'))
        recorder.close()
    assert [item.envelope.type for item in read_recording(tmp_path / "empty.jsonl")] == ["ping"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_named():
    recorder = Recorder(Path("/dev/full"))
    recorder.write(record('{"type":"ping","timestamp":1}'))
    with pytest.raises(RecordingError, match=r"/dev/full: No space left"):
        recorder.flush()
    with pytest.raises(RecordingError, match="No space left"):
        recorder.close()


def test_what_was_recorded_is_on_the_disk_after_a_flush(tmp_path):
    recorder = Recorder(tmp_path / "r.jsonl")
    recorder.write(record('{"type":"ping","timestamp":1}'))
    recorder.flush()
    assert [item.envelope.type for item in read_recording(tmp_path / "r.jsonl")] == ["ping"]
    assert recorder.count == 1
    recorder.close()


def test_a_recording_made_by_hand_is_read(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('\n{"sentAtMs": 7, "type": "ping", "timestamp": 1, "data": [1.0, "\\u202e"]}\n\n', "utf-8-sig")
    (again,) = read_recording(path)
    assert (again.at_ms, again.is_sent) == (7, True)
    assert again.text == '{"type":"ping","timestamp":1,"data":[1.0,"\u202e"]}'


@pytest.mark.parametrize("data", ["[" * 900 + "]" * 900, "1" * 5000, '"\\ud800"'], ids=lambda data: data[:5])
def test_what_somebody_wrote_by_hand_can_always_be_sent(data):
    try:
        again = read_record(f'{{"sentAtMs": 7, "type": "ping", "timestamp": 1, "data": {data}}}')
    except RecordingError:
        return
    assert read_record(line_of(again)).text == again.text
    assert again.text.encode()

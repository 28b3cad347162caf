"""What happens to a connection stands in its recording, in the terminal client's as in the pipe's."""

from __future__ import annotations

import json
import stat

import pytest

from wsclient.events import Closed, Doubled, Gap, Lost, Opened, Reconnecting, Replayed, Resumed, RoomRefused, Sent
from wsclient.happenings import Happening, Happenings
from wsclient.recording import (
    Recorder,
    RecordingError,
    line_of_happening,
    read_everything,
    read_line,
    read_recording,
)
from wscore.payloads import Heartbeat, Limits, SessionCreated, SessionRecovery


def kinds(path) -> list[str]:
    return [item.kind for item in read_everything(path) if isinstance(item, Happening)]


@pytest.mark.parametrize(
    "happening",
    [
        Happening("opened", 5),
        Happening("closed", 5, {"code": 1001, "reason": "bye\u202e\n"}),
        Happening("gap", 5, {"awayMs": 12}),
        Happening("of a later version", 5, {"x": [1]}),
    ],
)
def test_a_line_comes_back_as_it_was(happening):
    line = line_of_happening(happening)
    assert "\n" not in line
    assert "\u202e" not in line
    assert read_line(line) == happening
    assert str(happening)


@pytest.mark.parametrize("line", ['{"event":"opened","atMs":-1}', '{"event":1,"atMs":1}', '{"event":"opened"}'])
def test_a_line_that_is_none_is_named(line):
    with pytest.raises(RecordingError, match="line 1"):
        read_line(line)


def test_an_envelope_with_a_member_of_that_name_is_a_message():
    line = '{"event":"opened","atMs":1,"type":"x","timestamp":1,"receivedAtMs":5}'
    assert not isinstance(read_line(line), Happening)


def test_what_happened_is_told_in_order_with_the_gap():
    happenings = Happenings()
    events = [(Opened(None), 10), (Sent("x", 1), 11), (Closed(1006, "lost"), 20), (Reconnecting(1, 5, "lost"), 20)]
    told = [item for event, at_ms in events for item in happenings.of(event, at_ms)]
    told += happenings.of(Opened(None), 50)
    told += happenings.ended(60)
    told += happenings.ended(70)
    assert [(item.kind, item.at_ms) for item in told] == [
        ("opened", 10),
        ("closed", 20),
        ("reconnecting", 20),
        ("reconnected", 50),
        ("gap", 50),
        ("closed", 60),
    ]
    assert told[1].fields == {"code": 1006, "reason": "lost"}
    assert told[4].fields == {"awayMs": 30}


@pytest.mark.parametrize(
    ("event", "kind", "words"),
    [
        (Resumed(None, "e", 17), "resumed", "the session goes on behind 17"),
        (Replayed("hall", 1), "replayed", "room hall: 1 missed message came after all"),
        (Replayed(None, 2), "replayed", "the session: 2 missed messages came after all"),
        (Lost("hall", "e", 3), "lost", "room hall: messages are lost; it goes on at 3"),
        (Gap(None, 4, 4), "missing", "the session: 4 is missing, and asked for again"),
        (Gap(None, 4, 6), "missing", "the session: 4 to 6 are missing, and asked for again"),
        (Doubled(None, 4), "doubled", "the session: 4 came twice, and was dropped"),
        (RoomRefused("hall", "FORBIDDEN", "no"), "room refused", "room hall did not let us in: FORBIDDEN: no"),
    ],
)
def test_what_became_of_a_session_or_a_room_is_told_in_the_same_words_live_and_from_a_recording(event, kind, words):
    (happening,) = Happenings().of(event, 5)
    read = read_line(line_of_happening(happening))
    assert (happening.kind, str(happening), str(read)) == (kind, words, words)


def test_where_history_is_kept_a_return_is_no_gap():
    happenings = Happenings()
    recovery = SessionRecovery("e", 3, "c.mac", recovered=False)
    session = SessionCreated("s", "alice", False, "c", Heartbeat(1, 2), Limits(10), recovery)
    events = [Opened(session), Closed(1006, ""), Opened(session), Lost(None, "e", 3)]
    assert [item.kind for event in events for item in happenings.of(event, 1)] == [
        *("opened", "closed", "reconnected", "lost")
    ]


def test_a_recording_is_for_its_owner_alone(tmp_path):
    recorder = Recorder(tmp_path / "r.jsonl")
    recorder.write_happening(Happening("opened", 5))
    recorder.close()
    assert stat.S_IMODE((tmp_path / "r.jsonl").stat().st_mode) == 0o600
    assert recorder.count == 0
    assert list(read_recording(tmp_path / "r.jsonl")) == []
    assert json.loads((tmp_path / "r.jsonl").read_text()) == {"event": "opened", "atMs": 5}

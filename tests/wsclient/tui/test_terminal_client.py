"""What somebody does with the terminal client: connect, write, read, filter, pause, record, come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsclient import Client, StaticToken
from wsclient.recording import read_recording
from wsclient.tui.main_screen import MainScreen
from wscore.ratelimit import Rate
from wscore.reconnect import ReconnectPolicy
from wsserver.connections.ratelimits import RatePolicy
from wsserver.lifetime.drain import RETRY_SPREAD_MS

SOON = ReconnectPolicy(base_ms=10, cap_ms=50)


async def test_it_connects_and_says_as_whom_and_where(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.shows("● open", "connected as guest_", "session room", "session_created", "127.0.0.1")


@pytest.mark.parametrize("form", [False, True])
async def test_whoever_waits_for_the_first_frame_is_called_once(server, open_terminal, form):
    drawn = []
    async with open_terminal(server.url, form=form, on_drawn=lambda: drawn.append("now")) as terminal:
        await terminal.until(lambda: drawn)
        await terminal.shows("Connect as" if form else "● open")
    assert drawn == ["now"]


async def test_the_way_out_stands_on_the_screen_of_the_smallest_terminal(server, open_terminal):
    async with open_terminal(server.url, size=(80, 24)) as terminal:
        await terminal.shows("^q Quit")
        await terminal.press("c")
        await terminal.until(lambda: terminal.screen.composer.has_focus_within)
        await terminal.shows("^q Quit")


async def test_its_state_shows_at_once_and_not_with_the_next_second(server, open_terminal, monkeypatch):
    monkeypatch.setattr(MainScreen, "_tick", lambda screen: None)
    async with open_terminal(server.url) as terminal:
        await terminal.shows("● open")


async def test_what_is_written_reaches_the_room_and_the_stream(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        await terminal.type("hello there")
        await terminal.press("ctrl+j")
        assert await peer.receive() == "hello there"
        await terminal.until(lambda: terminal.rows().count("message") == 2)
        await terminal.shows("▲ message", "▼ message", '"hello there"')
        assert terminal.screen.composer.draft.text == ""


async def test_json_is_data_and_a_whole_envelope_goes_as_it_is(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        await terminal.type('{"n": 1}')
        await terminal.press("ctrl+j")
        assert await peer.receive() == {"n": 1}
        await terminal.type('{"type": "message", "data": "whole"}')
        await terminal.press("ctrl+j")
        assert await peer.receive() == "whole"


async def test_broken_json_is_named_with_its_place_and_not_sent(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        await terminal.type('{"n": 1,}')
        await terminal.shows("line 1, column 9")
        before = terminal.screen._ring.count
        await terminal.press("ctrl+j")
        assert terminal.screen.composer.draft.text == '{"n": 1,}'
        assert terminal.screen._ring.count == before


async def test_variables_are_filled_in_when_it_is_sent(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await peer.send({"x": [7]})
        await terminal.shows('{"x":[7]}')
        await terminal.press("c")
        await terminal.type('{"id": "{{uuid}}", "back": {{last.data.x.0}}}')
        await terminal.press("ctrl+j")
        await terminal.until(lambda: terminal.rows().count("message") == 3)
        await peer.receive()
        data = await peer.receive()
        assert len(data["id"]) == 36
        assert data["back"] == 7
        await terminal.type("{{nonsense}}")
        await terminal.press("ctrl+j")
        await terminal.shows("nonsense")
        assert terminal.screen.composer.draft.text == "{{nonsense}}"


async def test_the_type_is_completed_from_those_that_were_seen(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await peer.send("x")
        await terminal.press("c", "shift+tab")
        terminal.screen.query_one("#type").value = ""
        await terminal.type("session_c")
        await terminal.press("right", "enter")
        assert terminal.screen.composer.draft.type == "session_created"


async def test_a_filter_shows_only_what_matches_and_a_bad_one_is_explained(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        for text in ("apple", "pear"):
            await peer.send(text)
        await terminal.until(lambda: terminal.rows().count("message") == 2)
        await terminal.press("f")
        await terminal.type("type:message /^.*pea/")
        await terminal.press("enter")
        assert terminal.rows() == ["message"]
        await terminal.shows("pear", "filter type:message")
        await terminal.press("f")
        await terminal.type(" /(/")
        await terminal.press("enter")
        await terminal.shows("column")
        assert terminal.rows() == ["message"]


async def test_errors_only_shows_errors_only(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        await terminal.type('{"type": "message", "timestamp": "wrong"}')
        await terminal.press("ctrl+j", "escape")
        await terminal.until(lambda: "error" in terminal.rows())
        await terminal.press("e")
        assert terminal.rows() == ["error"]
        await terminal.press("e")
        assert len(terminal.rows()) > 1


async def test_heartbeats_are_hidden_until_asked_for(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.until(lambda: terminal.screen._ring.counts.get("pong"))
        assert "pong" not in terminal.rows()
        await terminal.press("b")
        assert {"ping", "pong"} <= set(terminal.rows())


async def test_a_pause_loses_nothing(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("space")
        before = terminal.rows()
        for number in range(20):
            await peer.send(number)
        await terminal.until(lambda: terminal.screen._ring.counts.get("message") == 20)
        await terminal.shows("paused, 2")
        assert terminal.rows() == before
        await terminal.press("space")
        assert terminal.rows().count("message") == 20


async def test_scrolling_up_stops_following_and_counts_what_is_new(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        for number in range(60):
            await peer.send(number)
        await terminal.until(lambda: terminal.rows().count("message") == 60)
        await terminal.press("up", "up")
        selected = terminal.screen.stream.selected
        for number in range(3):
            await peer.send(f"new {number}")
        await terminal.shows("3 new below")
        assert terminal.screen.stream.selected is selected
        await terminal.press("end")
        await terminal.shows('"new 2"')
        assert terminal.screen.stream.follows


async def test_search_goes_to_the_matches_in_both_directions(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        for text in ("needle 1", "hay", "needle 2", "hay"):
            await peer.send(text)
        await terminal.until(lambda: terminal.rows().count("message") == 4)
        await terminal.press("slash")
        await terminal.type("needle")
        await terminal.press("enter")

        def selected() -> str:
            return terminal.screen.stream.selected.record.text

        assert "needle 2" in selected()
        await terminal.press("N")
        assert "needle 1" in selected()
        await terminal.press("n")
        assert "needle 2" in selected()


async def test_a_reply_is_paired_with_its_request(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("b", "c")
        await terminal.type('{"type": "ping", "id": "mine"}')
        await terminal.press("ctrl+j", "escape")
        await terminal.shows("#mine", "↩")
        await terminal.press("f")
        await terminal.type("mine")
        await terminal.press("enter", "enter")
        await terminal.shows("request #")
        reply = terminal.screen.stream.selected
        await terminal.press("p")
        assert terminal.screen.stream.selected.number == reply.partner


async def test_it_comes_back_when_the_server_does(start_server, server, open_terminal):
    async with open_terminal(server.url, reconnect=SOON) as terminal:
        port = int(server.url.split(":")[2].split("/")[0])
        await server.stop()
        await terminal.shows("1001 going away")
        again = await start_server(port=port)
        terminal.screen._live._client._sleep = _at_once  # the server asked for a wait of seconds
        assert RETRY_SPREAD_MS > 0
        await terminal.until(lambda: terminal.screen._health.state == "open")
        assert len(again.connections) == 1


async def _at_once(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(min(seconds, 0.01))


async def test_a_refused_token_is_explained_and_not_tried_again(server, open_terminal):
    async with open_terminal(server.url, token=StaticToken("nonsense")) as terminal:
        await terminal.shows("● closed", "AUTH_INVALID")


async def test_a_kick_is_explained_in_words(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        server.hub.close(server.connections.all()[0].id)
        await terminal.shows("4004 kicked", "● closed")
        await terminal.press("ctrl+k")
        await terminal.until(lambda: terminal.screen._health.state == "open")


async def test_a_recording_has_everything_and_can_be_looked_through(server, peer, open_terminal, tmp_path):
    path = tmp_path / "talk.jsonl"
    async with open_terminal(server.url) as terminal:
        await terminal.press("ctrl+s")
        bar = terminal.screen.query_one("#bar-input")
        bar.value = str(path)
        await terminal.press("enter")
        await terminal.shows("● REC talk.jsonl")
        await terminal.press("c")
        await terminal.type("kept")
        await terminal.press("ctrl+j")
        await terminal.until(lambda: terminal.rows().count("message") == 2)
        await terminal.press("ctrl+s")
        await terminal.until(lambda: terminal.screen._live.recording_to is None)
    records = [record for record in read_recording(path) if record.envelope.type == "message"]
    assert [record.is_sent for record in records] == [True, False]
    async with open_terminal(recording=("talk.jsonl", list(read_recording(path)))) as viewer:
        await viewer.shows("talk.jsonl", '"kept"')
        assert viewer.rows().count("message") == 2
        assert not viewer.screen.query("#composer")


async def test_the_history_survives_a_restart_and_is_searched(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        for text in ("first", "second"):
            await terminal.type(text)
            await terminal.press("ctrl+j")
            await terminal.until(lambda: terminal.screen.composer.draft.text == "")
    async with open_terminal(server.url) as terminal:
        await terminal.press("c", "up", "up")
        assert terminal.screen.composer.draft.text == "first"
        await terminal.press("down")
        assert terminal.screen.composer.draft.text == "second"
        await terminal.press("ctrl+r")
        await terminal.type("fir")
        await terminal.press("enter")
        assert terminal.screen.composer.draft.text == "first"


async def test_a_message_is_copied_as_json_and_as_a_command(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await peer.send("it's")
        await terminal.until(lambda: terminal.rows().count("message") == 1)
        await terminal.press("y")
        assert json.loads(terminal.app.clipboard)["data"] == "it's"
        await terminal.press("Y")
        assert terminal.app.clipboard.startswith("wsctl connect --send '{")
        await terminal.press("r")
        assert json.loads(terminal.screen.composer.draft.text)["data"] == "it's"


async def test_a_file_is_sent_line_by_line(server, peer, open_terminal, tmp_path):
    (tmp_path / "lines.txt").write_text('one\n{"n": 2}\n')
    async with open_terminal(server.url) as terminal:
        await terminal.press("ctrl+o")
        terminal.screen.query_one("#bar-input").value = str(tmp_path / "missing")
        await terminal.press("enter")
        await terminal.shows("No such file")
        terminal.screen.query_one("#bar-input").value = str(tmp_path / "lines.txt")
        await terminal.press("enter")
        assert [await peer.receive() for _ in range(2)] == ["one", {"n": 2}]


async def test_a_file_is_sent_at_the_pace_that_the_server_allows(start_server, open_terminal, tmp_path):
    server = await start_server(rates=RatePolicy(messages=Rate(50, 30)))
    lines = [str(number) for number in range(50)]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    async with Client(server.url, session_id="room") as client, open_terminal(server.url) as terminal:
        await terminal.press("ctrl+o")
        terminal.screen.query_one("#bar-input").value = str(tmp_path / "lines.txt")
        await terminal.press("enter")
        assert [await client.expect("message", object, timeout_s=20) for _ in lines] == lines
        await terminal.says("sent 50 messages")


async def test_a_message_is_repeated_until_told_to_stop(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("c")
        await terminal.type("again {{counter}}")
        await terminal.press("ctrl+t")
        terminal.screen.query_one("#bar-input").value = "20"
        await terminal.press("enter")
        assert [await peer.receive() for _ in range(3)] == ["again 1", "again 2", "again 3"]
        await terminal.shows("every 20 ms")
        await terminal.press("ctrl+t")
        assert terminal.screen._repeat_timer is None


async def test_health_shows_round_trips_rates_and_limits(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("f2", "f3")
        await terminal.shows("round trip p50/p95/p99", "over 1 pings", "messages up to 1MiB", "session_created ")


async def test_the_editor_writes_the_message(server, open_terminal, monkeypatch, tmp_path):
    script = tmp_path / "editor.sh"
    script.write_text('#!/bin/sh\nprintf "from the editor" > "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    async with open_terminal(server.url) as terminal:
        from contextlib import nullcontext

        monkeypatch.setattr(terminal.app, "suspend", nullcontext)  # there is no terminal to give away in a test
        await terminal.press("f4")
        assert terminal.screen.composer.draft.text == "from the editor"


async def test_a_full_disk_ends_the_recording_and_not_the_connection(server, peer, open_terminal):
    async with open_terminal(server.url, record=Path("/dev/full")) as terminal:
        await peer.send("x" * 100_000)
        await terminal.shows("the recording ended: /dev/full: No space left on device")
        await terminal.press("c")
        await terminal.type("still here")
        await terminal.press("ctrl+j")
        await terminal.until(lambda: terminal.rows().count("message") == 3)

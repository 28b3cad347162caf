"""The connection of the terminal client: connecting anew, what its recording knows of it, what its end is told as."""

from __future__ import annotations

import asyncio

import pytest

from wsclient.happenings import Happening
from wsclient.recording import read_everything
from wscore.reconnect import ReconnectPolicy

SOON = ReconnectPolicy(base_ms=10, cap_ms=50)


async def test_connecting_anew_leaves_it_open_however_often_it_is_done(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        health = terminal.screen._health
        for number in range(8):
            connection = health.session.connection_id
            await terminal.press("ctrl+k")
            await terminal.until(
                lambda before=connection: health.session is not None and health.session.connection_id != before
            )
            if number % 2:
                await terminal.until(lambda: len(server.connections) == 1)
                await asyncio.sleep(0)
            assert health.state == "open"
            assert terminal.screen._live.adapter is not None
        await terminal.until(lambda: len(server.connections) == 1)
        await terminal.shows("● open")


async def test_speech_and_files_go_on_while_it_connects_anew(server, open_terminal):
    async with open_terminal(server.url) as terminal:
        going = asyncio.Event()

        async def long() -> None:
            going.set()
            await asyncio.Event().wait()

        worker = terminal.screen.run_worker(long())
        await going.wait()
        await terminal.press("ctrl+k")
        await terminal.until(lambda: terminal.screen._ring.counts.get("session_created") == 2)
        assert worker.is_running
        worker.cancel()


async def test_what_was_missed_while_the_way_was_cut_is_shown_once_and_told(server, open_terminal):
    async with open_terminal(server.url, reconnect=SOON) as terminal:
        may_return = asyncio.Event()
        terminal.screen._live._client._sleep = lambda seconds: may_return.wait()
        (connection,) = server.connections.by_session("room")
        connection.channel.abort()
        await server.connections.wait_empty()
        for number in range(3):
            server.hub.publish("message", f"missed {number}", session="room")
        may_return.set()
        await terminal.shows("missed 0", "missed 1", "missed 2", "the session: 3 missed messages came after all")
        assert terminal.rows().count("message") == 3


async def test_a_recording_knows_what_happened_to_the_connection(start_server, server, open_terminal, tmp_path):
    path = tmp_path / "talk.jsonl"
    async with open_terminal(server.url, record=path, reconnect=SOON) as terminal:
        await terminal.until(lambda: terminal.screen._health.state == "open")
        port = int(server.url.split(":")[2].split("/")[0])
        await server.stop()
        await terminal.shows("1001 going away")
        await start_server(port=port)
        terminal.screen._live._client._sleep = lambda seconds: asyncio.sleep(min(seconds, 0.01))
        await terminal.shows("the session: messages are lost")
    happened = [item for item in read_everything(path) if isinstance(item, Happening)]
    kinds = [item.kind for item in happened]
    assert kinds[:3] == ["opened", "closed", "reconnecting"]
    assert kinds[-3:] == ["reconnected", "lost", "closed"]
    assert happened[1].fields["code"] == 1001
    assert happened[-1].fields == {"code": 1000, "reason": ""}
    assert [item.at_ms for item in happened] == sorted(item.at_ms for item in happened)
    async with open_terminal(recording=("talk.jsonl", list(read_everything(path)))) as viewer:
        await viewer.shows("closed 1001 going away", "messages are lost", "reconnected as guest_")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_reason_of_a_failed_connection_is_to_be_read(open_terminal, size):
    async with open_terminal(
        "ws://127.0.0.1:1/a/rather/long/path/that/fills/the/whole/line/of/a/small/terminal/",
        token=lambda: None,
        reconnect=None,
        size=size,
        client=None,
        form=True,
    ) as terminal:
        await terminal.press("enter")
        await terminal.until(lambda: terminal.screen.query("#status"))
        await terminal.until(lambda: terminal.screen._health.problem)
        words = "connection refused; is the server running? `wsctl serve` starts one"
        await terminal.until(lambda: words in " ".join(terminal.screen_text().split()))

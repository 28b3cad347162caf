"""`wsctl top`: a live view of a server and of workers, in a terminal and as JSON, and connections closed from it."""

from __future__ import annotations

import json
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import takewhile

import pytest
from websockets.exceptions import ConnectionClosed

from tests.cli.conftest import HANG_S
from tests.cli.operators import Member
from tests.cli.test_terminal_in_tmux import Tmux, tmux  # noqa: F401  (a fixture)
from wsclient.publishing.publisher import AsyncPublisher
from wsclient.top.app import TopApp
from wsclient.top.reading import Wanted, read_sample
from wsclient.top.tables import ConnectionTable, EndingTable, RoomTable

KEY = "0123456789abcdef-operator"
READ_KEY = "0123456789abcdef-reader"


@pytest.fixture
def served(start_wsctl):
    """Start a server with an operations port; returns its process, the URLs of both, and what makes members."""
    with ExitStack() as stack:

        def start(*options, **variables):
            process = start_wsctl("serve", "--port", "0", "--ops-port", "0", *options, **variables)
            told = [line.split() for line in takewhile(lambda line: "stop:" not in line, process.stderr)]
            ((url,),) = ([words[2:3] for words in told if words[:2] == ["wsctl", "serves"]],)
            ((ops,),) = ([words[1] for words in told if words[:1] == ["ops:"]],)
            return process, ops, partial(Member, stack, *url)

        yield start


@pytest.fixture
def open_top():
    """Open the view of a port in a terminal of 80 by 24: `async with open_top(url) as (app, pilot)`."""

    @asynccontextmanager
    async def open_one(url, key=None, interval_s=0.2):
        publisher = AsyncPublisher(url, key, retries=0)
        first = await read_sample(publisher, Wanted())
        app = TopApp(publisher, url, first, interval_s=interval_s)
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            yield app, pilot
        await publisher.close()

    return open_one


def lines(app):
    """Return what stands on the screen."""
    return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]


async def until(app, pilot, *texts):
    for _ in range(500):
        shown = "\n".join(lines(app))
        if all(text in shown for text in texts):
            return shown
        await pilot.pause(0.02)
    raise AssertionError(f"{texts} not in:\n{shown}")


def closing_code(member):
    with suppress(ConnectionClosed):
        while True:
            member.ws.recv(HANG_S)
    return member.ws.close_code


def test_a_sample_as_json_has_load_rooms_and_connections(served, wsctl):
    _, url, member = served()
    ann = member("s", "lobby")
    told = wsctl("top", "--ops-url", url, "--json", "--interval", "200ms")
    assert (told.returncode, told.stderr) == (0, "")
    sample = json.loads(told.stdout)
    assert [(load["name"], load["connections"]) for load in sample["loads"]] == [("", 1)]
    assert sample["total"]["receivedPerS"] == 0
    assert sample["rooms"] == [{"name": "lobby", "connections": 1}]
    assert [row["id"] for row in sample["connections"]] == [ann.id]
    assert sample["intervalMs"] >= 200


def test_without_a_terminal_or_a_port_or_a_key_it_says_so(served, wsctl):
    _, url, _ = served(WSCTL_OPS_KEY=KEY)
    told = wsctl("top", "--ops-url", url)
    assert (told.returncode, "needs a terminal" in told.stderr, "--json" in told.stderr) == (2, True, True)
    told = wsctl("top", "--ops-url", url, "--json")
    assert (told.returncode, told.stdout) == (4, "")
    told = wsctl("top", "--ops-url", "http://127.0.0.1:1", "--json")
    assert (told.returncode, "no answer" in told.stderr) == (3, True)
    told = wsctl("top", "--ops-url", url, "--json", "--interval", "1ms")
    assert (told.returncode, "200ms" in told.stderr) == (2, True)


async def test_connections_rooms_and_endings_are_live(served, open_top):
    _, url, member = served()
    ann = member("s", "lobby")
    async with open_top(url) as (app, pilot):
        await until(app, pilot, "● live", ann.user[:16], "1 of 1", "largest room lobby (1)")
        bob = member("quiet")
        await until(app, pilot, bob.user[:16], "2 of 2")
        await pilot.press("2")
        await until(app, pilot, "connections  room", "1  lobby", "1 room")
        ann.ws.close()
        await pilot.press("3")
        await until(app, pilot, "1000", "ended as")
        assert app.screen.query_one(EndingTable).row_count == 1
        assert max(map(len, lines(app))) <= 80


async def test_a_filter_finds_as_it_is_typed_and_escape_shows_all(served, open_top):
    _, url, member = served()
    members = [member("red", "r1"), member("green"), member("blue")]
    async with open_top(url) as (app, pilot):
        await until(app, pilot, "3 of 3")
        await pilot.press("slash", *"gree")
        assert "green" in await until(app, pilot, "1 of 3")
        await pilot.press("escape")
        await until(app, pilot, "3 of 3")
        await pilot.press("slash", *"room:r1")
        await until(app, pilot, "1 of 1")
        await pilot.press("enter")
        assert app.screen.query_one(ConnectionTable).marked == members[0].id
        assert app.focused is app.screen.query_one(ConnectionTable)


async def test_sorting_goes_around_and_the_cursor_stays_with_its_connection(served, open_top):
    _, url, member = served()
    members = [member(f"s{number}") for number in range(3)]
    async with open_top(url) as (app, pilot):
        await until(app, pilot, "3 of 3, sorted by waiting")
        table = app.screen.query_one(ConnectionTable)
        await pilot.press("s", "down")
        await until(app, pilot, "sorted by age")
        assert table.marked == members[1].id
        await pilot.press("up", "r")
        await until(app, pilot, "sorted by age, reversed")
        assert (table.marked, table.cursor_row) == (members[0].id, 2)


async def test_a_connection_is_closed_only_after_a_yes(served, open_top):
    _, url, member = served()
    ann = member("s")
    async with open_top(url) as (app, pilot):
        await until(app, pilot, "1 of 1")
        await pilot.press("k")
        await until(app, pilot, "Close this connection?", ann.user, ann.id, "127.0.0.1")
        await pilot.press("enter")  # No is what it begins with
        await until(app, pilot, "1 of 1")
        await pilot.press("k", "y")
        await until(app, pilot, "closed 1 connection", "0 of 0")
    assert closing_code(ann) == 4004


async def test_all_of_a_user_go_together(served, open_top, wsctl, tmp_path):
    _, url, member = served()
    ann = member("s")
    async with open_top(url) as (app, pilot):
        await until(app, pilot, "1 of 1")
        await pilot.press("k", "u")
        await until(app, pilot, "closed 1 connection")
    assert closing_code(ann) == 4004


async def test_a_key_that_may_only_look_kicks_nobody_and_is_told_why(served, open_top):
    _, url, member = served(WSCTL_OPS_KEY=KEY, WSCTL_OPS_READ_KEY=READ_KEY)
    ann = member("s")
    async with open_top(url, READ_KEY) as (app, pilot):
        await until(app, pilot, "1 of 1")
        await pilot.press("k", "y")
        await until(app, pilot, "may do more than look")
    ann.ws.ping().wait(HANG_S)
    ann.ws.send('{"type":"ping","timestamp":1,"data":{"timestamp":1}}')
    ann.receive("pong")


async def test_a_server_that_is_gone_is_said_to_be_away_and_found_again(served, open_top, start_wsctl):
    process, url, member = served()
    member("s")
    async with open_top(url) as (app, pilot):
        await until(app, pilot, "1 of 1")
        process.terminate()
        process.wait(HANG_S)
        await until(app, pilot, "● away", "what is shown is old")
        served("--ops-port", url.rpartition(":")[2])
        await until(app, pilot, "● live", "0 of 0")


async def test_nothing_is_asked_while_it_is_paused(served, open_top):
    _, url, member = served()
    async with open_top(url) as (app, pilot):
        await until(app, pilot, "0 of 0")
        await pilot.press("space")
        await until(app, pilot, "paused")
        member("s")
        before = app.screen._sample
        await pilot.pause(0.3)
        assert app.screen._sample is before
        await pilot.press("space")
        await until(app, pilot, "1 of 1")


async def test_two_workers_have_a_row_each_and_one_for_both(served, open_top, redis):
    _, url, member = served("--workers", "2", "--broker", redis.url)
    for number in range(4):
        member(f"s{number}", "lobby")
    async with open_top(url) as (app, pilot):
        shown = await until(app, pilot, "4 of 4", " all ")
        rows = {line.split()[0]: line.split()[1] for line in shown.splitlines()[2:5]}
        assert rows["all"] == "4"
        assert int(rows["0"]) + int(rows["1"]) == 4
        await pilot.press("2")
        await until(app, pilot, "4  lobby")
        assert app.screen.query_one(RoomTable).row_count == 1


def test_in_a_terminal_it_fills_it_and_leaves_with_0(served, tmux):  # noqa: F811
    _, url, member = served()
    ann = member("s", "lobby")
    tmux.start("top", "--ops-url", url, "--interval", "200ms")
    tmux.wait_for("● live", ann.user[:16], "largest room lobby (1)")
    tmux.keys("q")
    tmux.wait_for("left with 0")

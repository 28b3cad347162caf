"""What two samples of a server tell: rates by worker, endings, and what is not known."""

from __future__ import annotations

import pytest

from wsclient.top.exposition import Number, parse_exposition
from wsclient.top.reading import Wanted, wanted
from wsclient.top.sample import Ending, ServerSample, overview
from wsclient.top.tables import Order, chosen, count_text, placed, size_text
from wscore.operations import ConnectionRow, ConnectionsPage, RoomsPage


def sample(at_s, text, missing=()):
    return ServerSample(at_s, parse_exposition(text), RoomsPage([], []), ConnectionsPage([], 0, list(missing)))


def worker(number, connections, received, delivered, closed=0):
    return (
        f'wsctl_connections{{worker="{number}"}} {connections}\n'
        f'wsctl_messages_total{{worker="{number}",direction="in",type="ping"}} {received}\n'
        f'wsctl_messages_total{{worker="{number}",direction="out",type="pong"}} 999\n'
        f'wsctl_deliveries_total{{worker="{number}"}} {delivered}\n'
        f'wsctl_connections_closed_total{{worker="{number}",code="4003",disconnect="slow-consumer"}} {closed}\n'
    )


def test_a_line_is_a_name_labels_and_a_number():
    text = (
        '# HELP x y\n# TYPE x counter\nx{a="1",b="q\\"\\\\\\n"} 2.5\nx 3 1700000000\nbroken\nalso broken here\n'
        "y NaN\nz -Inf\nz 1e300\n"
    )
    numbers = parse_exposition(text)
    assert numbers["x"] == [Number({"a": "1", "b": 'q"\\\n'}, 2.5), Number({}, 3.0)]
    assert numbers.keys() == {"x"}  # what has no end could not be shown


def test_rates_are_by_worker_and_together():
    before = sample(10.0, worker(0, 5, 100, 1000) + worker(1, 7, 0, 0))
    now = sample(12.0, worker(0, 6, 140, 1600) + worker(1, 7, 20, 0, closed=3))
    view = overview(now, before)
    assert [(load.name, load.connections, load.received_per_s, load.delivered_per_s) for load in view.loads] == [
        ("0", 6, 20, 300),
        ("1", 7, 10, 0),
    ]
    assert (view.total.connections, view.total.received_per_s, view.total.delivered_per_s) == (13, 30, 300)
    assert view.endings == [Ending("4003", "slow-consumer", 3, 3)]


def test_a_worker_that_was_replaced_begins_anew_and_never_goes_backwards():
    view = overview(sample(12.0, worker(0, 0, 10, 4)), sample(10.0, worker(0, 5, 100, 1000)))
    assert (view.total.received_per_s, view.total.delivered_per_s) == (5, 2)


def test_what_is_not_known_is_not_said_to_be_nothing():
    view = overview(sample(12.0, worker(0, 5, 100, 1000, closed=2)), None)
    total = view.total
    assert (total.received_per_s, total.delivered_bytes_per_s, total.lag_ms, total.slow_readers) == (None,) * 4
    assert view.endings == [Ending("4003", "slow-consumer", 2, 0)]  # since when nobody knows
    assert count_text(None) == size_text(None) == "–"


def test_the_lag_is_the_mean_of_the_interval_and_the_worst_of_all_workers():
    def lag(number, total, count):
        name = f'wsctl_loop_lag_seconds_{{}}{{{{worker="{number}"}}}} '
        return name.format("sum") + f"{total}\n" + name.format("count") + f"{count}\n"

    view = overview(sample(2.0, lag(0, 1.5, 20) + lag(1, 1, 20)), sample(1.0, lag(0, 1.0, 10) + lag(1, 1, 10)))
    assert [load.lag_ms for load in view.loads] == [50, 0]
    assert view.total.lag_ms == 50


def test_who_did_not_answer_is_named():
    assert overview(sample(1.0, "", missing=["worker 1"]), None).missing == ["worker 1"]


def test_a_filter_has_names_for_the_server_and_words_for_what_it_found():
    assert wanted("user:ann room:r1 session:s address:10.0.0.0/8 slow Lobby") == Wanted(
        "ann", "r1", "s", "10.0.0.0/8", True, ("lobby",)
    )
    assert wanted("user: :x") == Wanted(words=("user:", ":x"))


ROWS = [
    ConnectionRow("c1", "bob", False, "s", ["lobby"], 1, "10.0.0.2", 3000, 0, "n"),
    ConnectionRow("c2", "ann", False, "s", [], 0, None, 1000, 70_000, "n"),
    ConnectionRow("c3", "eve", True, "t", [], 0, "10.0.0.1", 2000, 9, "n"),
]


@pytest.mark.parametrize(
    ("order", "ids"),
    [(Order.WAITING, "c2 c3 c1"), (Order.AGE, "c2 c3 c1"), (Order.USER, "c2 c1 c3"), (Order.ADDRESS, "c2 c3 c1")],
)
def test_connections_are_sorted_and_turned_around(order, ids):
    found = [row.id for row in chosen(ROWS, Wanted(), order, is_reversed=False)]
    assert found == ids.split()
    assert [row.id for row in chosen(ROWS, Wanted(), order, is_reversed=True)] == found[::-1]


def test_words_are_looked_for_in_all_that_is_shown():
    assert [row.id for row in chosen(ROWS, wanted("LOB"), Order.AGE, is_reversed=False)] == ["c1"]
    assert [row.id for row in chosen(ROWS, wanted("10.0 eve"), Order.AGE, is_reversed=False)] == ["c3"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abc", "abc   "),
        ("abcdefgh", "abcde…"),
        ("a\x1b[2J", "a\\x1b…"),
        ("日本語日本", "日本 …"),
        ("\u202eevil", "\\u202…"),
    ],
)
def test_a_cell_is_as_wide_as_it_should_be_and_moves_no_cursor(text, shown):
    assert placed(text, 6) == shown


def test_figures_fit():
    assert [size_text(size) for size in (0, 999, 1500, 150_000, 3 << 20)] == [
        "0 B",
        "999 B",
        "1.5 KiB",
        "146 KiB",
        "3.0 MiB",
    ]
    assert [count_text(value) for value in (0, 0.5, 9.0, 12.6, 12345.6)] == ["0", "0.5", "9", "13", "12,346"]

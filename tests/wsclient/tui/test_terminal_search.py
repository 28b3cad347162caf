"""Searching: matches are highlighted and counted, in the stream and inside of the message that is shown."""

from __future__ import annotations

import pytest

from wsclient.filters import MessageFilter


@pytest.mark.parametrize(
    ("search", "text", "spans"),
    [
        ("needle", "a Needle, needles", [(2, 8), (10, 16)]),
        ("/n.{2}d/i word", "Need a word, need", [(0, 4), (7, 11), (13, 17)]),
        ("-needle type:x dir:in errors", "needle type:x errors", []),
        ("/x*/", "xx yy", [(0, 2)]),
        ("", "anything", []),
    ],
)
def test_what_is_looked_for_is_found_in_a_text(search, text, spans):
    assert MessageFilter.parse(search).spans(text) == spans


def marked(terminal) -> list[str]:
    """The texts that stand on the screen in the colours of a match."""
    stream = terminal.screen.stream
    match = stream.get_visual_style("stream--match").background.rgb
    segments = [segment for y in range(stream.size.height) for segment in stream.render_line(y)]
    return [s.text for s in segments if s.style and s.style.bgcolor and tuple(s.style.bgcolor.triplet or ()) == match]


async def test_matches_are_highlighted_and_counted_while_more_come(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        for text in ("a needle 1", "hay", "Needle 2", "hay", "needle 3"):
            await peer.send(text)
        await terminal.until(lambda: terminal.rows().count("message") == 5)
        await terminal.press("slash", *"needle", "enter")
        await terminal.shows("/needle: 3 of 3")
        assert marked(terminal) == ["needle", "Needle", "needle"]
        await terminal.press("N")
        await terminal.shows("/needle: 2 of 3")
        await peer.send("needle 4")
        await terminal.shows("/needle: 2 of 4")
        await terminal.press("n", "n", "n")
        await terminal.shows("/needle: 1 of 4")
        await terminal.press("down")
        await terminal.shows("/needle: – of 4")
        await terminal.press("f", *"/dle", "space", *"2/", "enter")
        await terminal.shows("of 1")
        await terminal.press("slash", *["backspace"] * 6, "enter")
        await terminal.until(lambda: "needle:" not in terminal.screen_text())
        assert marked(terminal) == []


async def test_a_search_that_finds_nothing_says_so(server, peer, open_terminal):
    async with open_terminal(server.url) as terminal:
        await terminal.press("slash", *"nowhere", "enter")
        await terminal.says("no match for nowhere")
        await terminal.shows("/nowhere: – of 0")


async def test_matches_that_are_forgotten_are_not_counted(server, peer, open_terminal):
    async with open_terminal(server.url, ring_limit=10) as terminal:
        await peer.send("needle")
        await terminal.until(lambda: terminal.rows().count("message") == 1)
        await terminal.press("slash", *"needle", "enter")
        await terminal.shows("1 of 1")
        for number in range(12):
            await peer.send(number)
        await terminal.shows("– of 0")


async def test_the_detail_is_searched_and_scrolls_to_what_it_finds(server, peer, open_terminal):
    async with open_terminal(server.url, size=(100, 30)) as terminal:
        await peer.send({"lines": [f"line {number}" for number in range(80)] + ["Needle [b]", "x", "needle"]})
        await terminal.until(lambda: terminal.rows().count("message") == 1)
        await terminal.press("enter", "tab")
        assert terminal.screen.detail.has_focus
        await terminal.press("slash", *"needle", "enter")
        await terminal.shows("here /needle: 1 of 2", "Needle [b]")
        assert terminal.screen.detail.scroll_offset.y > 50
        await terminal.press("n")
        await terminal.shows("/needle: 2 of 2")
        await terminal.press("n")
        await terminal.shows("/needle: 1 of 2")
        await terminal.press("N")
        await terminal.shows("/needle: 2 of 2")
        assert terminal.screen.detail.has_focus
        await terminal.press("slash", *" /(/", "enter")
        await terminal.shows("the /regex/ is broken")

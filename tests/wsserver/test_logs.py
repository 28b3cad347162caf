"""Logs: one line an event, no token, nothing that could forge a line or move a cursor."""

from __future__ import annotations

import io
import json
import logging

import pytest

from wsserver.logs import EventLog, JsonFormatter, LogFormat, TextFormatter, configure_logging


@pytest.fixture
def lines():
    """Return a function that logs through a formatter and gives the lines back."""

    def log(formatter: logging.Formatter, call) -> list[str]:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        logger = logging.Logger("test", logging.DEBUG)
        logger.addHandler(handler)
        call(EventLog(logger))
        return stream.getvalue().splitlines()

    return log


HOSTILE = "a\r\nFORGED level=ERROR \x1b[31mred\x1b]0;t\x07 \u202eabc \x85 \u2028"


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_hostile_value_stays_on_its_line_and_shows_its_controls(lines, formatter):
    (line,) = lines(formatter, lambda log: log.info("event", value=HOSTILE))
    assert "FORGED" in line
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)
    assert "\u202e" not in line
    assert "\u2028" not in line


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_no_token_survives_in_a_field_or_a_traceback(lines, formatter, user_token, guest_token):
    tokens = user_token(), guest_token()

    def call(log: EventLog) -> None:
        try:
            raise ValueError(f"bad {tokens[0]} and {tokens[1]}")
        except ValueError as error:
            log.failure("failed", error, url=f"/socket.io/?token={tokens[0]}&x=1", text=tokens[1])

    (line,) = lines(formatter, call)
    assert "Traceback" in line
    assert not any(token in line for token in tokens)
    assert "[redacted]" in line


def test_a_json_line_is_one_object_with_time_level_and_event(lines):
    (line,) = lines(JsonFormatter(), lambda log: log.info("connection.opened", user="zoë", n=1))
    event = json.loads(line)
    assert (event["event"], event["level"], event["user"], event["n"]) == ("connection.opened", "info", "zoë", 1)
    assert event["time"].endswith("Z")


def test_a_text_line_quotes_only_what_needs_it(lines):
    (line,) = lines(TextFormatter(), lambda log: log.warning("event", plain="a-b", spaced="a b", empty=""))
    assert line.endswith('WARNING event plain=a-b spaced="a b" empty=""')


def test_below_the_level_nothing_is_written():
    root = logging.getLogger()
    saved, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        configure_logging(LogFormat.TEXT, "warning", stream)
        EventLog().info("quiet")
        EventLog().warning("loud")
    finally:
        root.handlers[:] = saved
        root.setLevel(level)
        logging.getLogger("wsctl").setLevel(logging.NOTSET)
    assert len(stream.getvalue().splitlines()) == 1

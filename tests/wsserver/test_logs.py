"""Logs: one line an event, no token, nothing that could forge a line or move a cursor."""

from __future__ import annotations

import io
import json
import logging
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsserver.telemetry.logs import (
    CONTINUATION,
    MAX_VALUE_CHARS,
    EventLog,
    JsonFormatter,
    LogFormat,
    TextFormatter,
    configure_logging,
)


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


# What docs/cli.md says of a text line: words with one space between them, the values plain or in quotes.
WORD = r"""(?:[^\s"'=\\]+|"(?:[^"\\]|\\.)*")"""
TEXT_LINE = re.compile(rf"(\S+) ([A-Z]+) ({WORD})((?: \w+={WORD})*)")
ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))")
SHORT = {"t": "\t", "n": "\n", "r": "\r", '"': '"', "\\": "\\"}

# Texts in which a redacting pattern finds something right beside what an encoding puts there.
HOSTILE_TEXTS = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            [
                "token=",
                "resume=",
                "abc",
                '"',
                "\\",
                "'",
                " ",
                "=",
                "\n",
                "\u2028",
                "\u3000",
                "://a:b",
                "@",
                "&",
                "code=1000",
                "}",
            ]
        )
    ).map("".join),
)


def value_of(word: str) -> str:
    if not word.startswith('"'):
        return word
    return ESCAPE.sub(
        lambda item: SHORT[item[4]] if item[4] else chr(int(item[1] or item[2] or item[3], 16)), word[1:-1]
    )


def rendered(formatter: logging.Formatter, event: str, error: BaseException | None = None, **fields: object) -> str:
    record = logging.LogRecord("wsctl", logging.INFO, __file__, 1, event, None, error and (type(error), error, None))
    record.fields = fields
    return formatter.format(record)


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

    text = "\n".join(lines(formatter, call))
    assert "Traceback" in text
    assert not any(token in text for token in tokens)
    assert "[redacted]" in text


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


@settings(max_examples=300, deadline=None)
@given(event=HOSTILE_TEXTS, first=HOSTILE_TEXTS, second=HOSTILE_TEXTS)
def test_a_text_line_splits_in_one_way_only_whatever_its_values_are(event, first, second):
    line = rendered(TextFormatter(), event, first=first, second=second)
    match = TEXT_LINE.fullmatch(line)
    assert match, line
    values = dict(re.findall(rf" (\w+)=({WORD})", match[4]))
    assert list(values) == ["first", "second"]
    seen = json.loads(rendered(JsonFormatter(), event, first=first, second=second))  # which redacts just the same
    assert value_of(match[3]) == seen["event"]
    assert {name: value_of(word) for name, word in values.items()} == {"first": seen["first"], "second": seen["second"]}


@settings(max_examples=300, deadline=None)
@given(
    event=HOSTILE_TEXTS,
    value=st.one_of(HOSTILE_TEXTS, st.floats(), st.integers(), st.none(), st.binary(), st.lists(HOSTILE_TEXTS)),
    message=HOSTILE_TEXTS,
)
def test_every_json_line_is_an_object_of_any_standard_parser(event, value, message):
    line = rendered(JsonFormatter(), event, ValueError(message), value=value)
    assert line.isascii()
    assert "\n" not in line

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    fields = json.loads(line, parse_constant=refuse)
    assert list(fields) == ["time", "level", "event", "value", "traceback"]
    msgspec.json.decode(line)  # refuses lone surrogates


def test_a_close_reason_forges_neither_a_field_nor_a_broken_line():
    reason = 'a\\" code=1000 by="server" ?token=x\\'
    line = rendered(TextFormatter(), "connection.closed", code=4000, reason=reason)
    assert TEXT_LINE.fullmatch(line)[4] == r' code=4000 reason="a\\\" code=1000 by=\"server\" ?token=[redacted]"'
    fields = json.loads(rendered(JsonFormatter(), "connection.closed", code=4000, reason=reason))
    assert (fields["code"], fields["reason"]) == (4000, 'a\\" code=1000 by="server" ?token=[redacted]')


def test_a_traceback_in_text_is_readable_lines_that_no_message_can_forge(lines):
    def call(log: EventLog) -> None:
        try:
            raise ValueError("first\n2026-01-31T12:00:00.000Z INFO connection.opened\r\x1b[2Kuser=root")
        except ValueError as error:
            log.failure("handler.failed", error, type="x")

    first, *rest = lines(TextFormatter(), call)
    assert first.endswith("ERROR handler.failed type=x")
    assert rest[0] == CONTINUATION + "Traceback (most recent call last):"
    assert rest[-1] == CONTINUATION + r"2026-01-31T12:00:00.000Z INFO connection.opened\r\x1b[2Kuser=root"
    assert all(line.startswith(CONTINUATION) for line in rest)


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_value_costs_no_more_than_one_field_may_take(lines, formatter):
    (line,) = lines(formatter, lambda log: log.info("event", value="x" * (MAX_VALUE_CHARS + 1234)))
    assert len(line) < MAX_VALUE_CHARS + 200
    assert "1,234 more characters" in line


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_what_cannot_be_made_a_text_is_told_and_not_raised(formatter):
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    assert "Mute whose text raises RuntimeError" in rendered(formatter, "event", value=Mute())
    record = logging.LogRecord("library", logging.WARNING, __file__, 1, "%d pieces", ("no number",), None)
    assert "pieces (TypeError when it was to be logged)" in formatter.format(record)

"""Durations and sizes, harmless text, and server frames."""

from __future__ import annotations

import errno
import json
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

import wscore.text
from wscore.frames import text_frame
from wscore.text import REDACTED, checked_text, describe, json_line, neutralise, redact, system_words
from wscore.units import format_age, format_duration, format_figure, format_size, parse_duration_ms, parse_size_bytes

GUEST = "guest_0b8f9c5e-3f0a-4c6e-9b1d-2a7e5d4c3b21_1700000000000"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
PACKAGES = Path(wscore.text.__file__).parents[1]  # those that are imported, as installed ones are
TREES = ("cli", "loadtest", "wsclient", "wscore", "wsserver")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


@pytest.mark.parametrize(
    ("text", "ms"),
    [("500ms", 500), ("25s", 25_000), ("1.5m", 90_000), ("1h", 3_600_000), ("7d", 604_800_000), (" 2 s ", 2000)],
)
def test_a_duration_is_read(text, ms):
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    ("text", "size"), [("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("1.5GiB", 3 << 29), ("2kB", 2000)]
)
def test_a_size_is_read(text, size):
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m00s"), (192, "3m12s"), (3600, "1h00m"), (18_180, "5h03m")),
        *((86_399, "23h59m"), (273_600, "3d04h"), (12 * 86_400 + 3600, "12d01h"), (120 * 86_400 + 3600, "120d")),
    ],
)
def test_an_age_is_written_in_two_units_and_six_characters(seconds, text):
    assert format_age(seconds * 1000 + 999 * (seconds > 0)) == text
    assert len(text) <= 6


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "+5s", "5 seconds", "5S", "1h30m", "1e3s", "٥s", "nans", "1_0s"])
def test_what_is_no_duration_is_refused_with_the_mend(text):
    with pytest.raises(ValueError, match="such as 500ms or 25s") as caught:
        parse_duration_ms(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["", "64", "64K", "64kib", "-1B", "1 TiB", "0x10B", "inf B"])
def test_what_is_no_size_is_refused_with_the_mend(text):
    with pytest.raises(ValueError, match="such as 64KiB") as caught:
        parse_size_bytes(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0ms"), (1500, "1500ms"), (25_000, "25s"), (90_000, "90s"), (86_400_000, "1d")]
)
def test_a_duration_is_written_in_its_shortest_exact_form(ms, text):
    assert format_duration(ms) == text


@pytest.mark.parametrize(("size", "text"), [(0, "0B"), (1000, "1000B"), (65_536, "64KiB"), (1 << 30, "1GiB")])
def test_a_size_is_written_in_its_shortest_exact_form(size, text):
    assert format_size(size) == text


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**11) | st.integers(0, 10**5).map(lambda n: n * 60_000))
def test_durations_and_sizes_survive_the_round_trip(value):
    assert parse_duration_ms(format_duration(value)) == value
    assert parse_size_bytes(format_size(value)) == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本 🙂", "plain é 日本 🙂"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("\u2028\ufeff\ud800", "\\u2028\\ufeff\\ud800"),
    ],
)
def test_control_characters_become_visible(text, shown):
    assert neutralise(text) == shown


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters() | st.characters(codec="latin-1"), max_size=50))
def test_neutral_text_holds_no_control_character_and_can_be_encoded(text):
    shown = neutralise(text)
    assert not CONTROL.search(shown)
    shown.encode()  # raises for a lone surrogate


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"bad {GUEST}!", f"bad {REDACTED}!"),
        (f"{GUEST.upper().replace('GUEST', 'guest')}_{'a' * 26}", REDACTED),
        (f"Bearer {JWT}", f"Bearer {REDACTED}"),
        (f"ws://h/?token={JWT}&sessionId=a", f"ws://h/?token={REDACTED}&sessionId=a"),
        ("ws://h/?a=1&token=anything%20odd", f"ws://h/?a=1&token={REDACTED}"),
        ("ws://h/?resume=secret&seq=1", f"ws://h/?resume={REDACTED}&seq=1"),
        ("GET /?TOKEN=abc HTTP/1.1", f"GET /?TOKEN={REDACTED} HTTP/1.1"),
        ("ws://alice:p@ss@host:1/x?a=@", f"ws://{REDACTED}@host:1/x?a=@"),
        ("alice@example.org", "alice@example.org"),
        ("no token here", "no token here"),
    ],
)
def test_tokens_are_redacted(text, shown):
    assert redact(text) == shown


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(JSON_VALUES, st.booleans(), st.sampled_from([None, 1, "\t", " \r"]))
def test_a_json_line_keeps_the_value_and_is_one_harmless_line(value, ascii_only, indent):
    line = json_line(json.dumps(value, ensure_ascii=ascii_only, indent=indent))
    assert json.loads(line) == value
    assert not CONTROL.search(line)
    line.encode()  # raises for a lone surrogate


def test_a_json_line_escapes_what_turns_the_reading_direction():
    assert json_line('{"a":\n"\u202e\x7f\u2028"}') == '{"a": "\\u202e\\u007f\\u2028"}'


def raised(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        (lambda: "HIDE-ME\udcff".encode(), "UnicodeEncodeError: surrogates not allowed"),
        (lambda: b"HIDE-ME\xff".decode(), "UnicodeDecodeError: invalid start byte"),
        (lambda: {}["HIDE-ME"], "KeyError"),
        (lambda: int("HIDE-ME"), "ValueError"),
        (lambda: Path("/HIDE-ME/x").read_bytes(), "No such file or directory"),
        (lambda: __import__("no_such_module"), "ModuleNotFoundError: no_such_module"),
        (lambda: checked_text("HIDE-ME\udcff", "--sub"), "--sub: is not text in UTF-8"),
        (lambda: socket.getaddrinfo("127.0.0.1", "HIDE-ME"), "Servname not supported for ai_socktype"),
    ],
)
def test_an_exception_is_described_without_what_it_holds(fail, told):
    assert describe(raised(fail)) == told


def test_a_failure_of_tls_is_described_by_its_reason():
    error = ssl.SSLError(1, "HIDE-ME")
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    assert describe(error) == "TLS: certificate verify failed"


def parsed(data: bytes) -> Frame:
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parser = Frame.parse(reader.read_exact, mask=False)
    while True:
        try:
            next(parser)
        except StopIteration as result:
            return result.value


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_a_text_frame_reads_back_at_every_length_form(size):
    payload = b"x" * size
    data = text_frame(payload)
    frame = parsed(data)
    assert (frame.fin, frame.opcode, bytes(frame.data)) == (True, Opcode.TEXT, payload)
    assert data == Frame(Opcode.TEXT, payload).serialize(mask=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (1904.2, "1,904"), (999.6, "1,000"), (12.345, "12.3"), (9.999, "10"), (2.5, "2.5")),
        *((0.01234, "0.0123"), (1e-7, "0.0000001"), (-1_234_567, "-1,234,567"), (float("inf"), "inf")),
    ],
)
def test_a_figure_is_written_with_the_digits_that_matter_and_never_as_a_power_of_ten(value, text):
    assert format_figure(value) == text


@given(st.floats(min_value=-1e15, max_value=1e15))
def test_no_figure_is_a_power_of_ten(value):
    assert "e" not in format_figure(value)


def test_the_system_has_words_for_every_number_also_for_a_name_that_is_not_known():
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert system_words(unknown) == "Name or service not known"
    assert system_words(OSError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 1)")) == "Connection refused"
    assert system_words(OSError("it hung up")) == "it hung up"
    untrusted = ssl.SSLError(1, "HIDE-ME")
    untrusted.reason = "CERTIFICATE_VERIFY_FAILED"
    assert system_words(untrusted) == "TLS: certificate verify failed"  # 1 is "Operation not permitted" to the system
    modules = [path for tree in TREES for path in (PACKAGES / tree).rglob("*.py")]
    askers = {path for path in modules if "os.strerror(" in path.read_text("utf-8")}
    assert askers == {PACKAGES / "wscore" / "text.py"}  # who asks it for a number below 0 gets "Unknown error"

"""What comes down a pipe to `wsctl connect`: JSON over several lines, byte order marks, UTF-16."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ECHO_APP = """
import msgspec
from wsserver import App, Context
app = App()

@app.on("message")
@app.on("echo")
async def echo(ctx: Context, data: msgspec.Raw) -> None:
    ctx.reply("echoed", data)
"""
HANG_S = 60
VALUE = {"type": "echo", "data": {"a": [1, {"b": '}{ \\ " ['}], "c": {}}}


def data_of(stdout: str) -> list[object]:
    return [json.loads(line).get("data") for line in stdout.splitlines()][1:]


@pytest.fixture
def piped(serving, start_wsctl, tmp_path: Path):
    """Send bytes to an app that echoes: `piped(b"...", "--templates")` returns exit code, data and narration."""
    (tmp_path / "echo_app.py").write_text(ECHO_APP)
    url = serving("echo_app:app").url

    def run(content: bytes, *options: str) -> tuple[int, list[object], str]:
        (tmp_path / "input").write_bytes(content)
        with (tmp_path / "input").open("rb") as file:
            process: subprocess.Popen[str] = start_wsctl("connect", url, *options, stdin=file.fileno())
            stdout, stderr = process.communicate(timeout=HANG_S)
        return process.returncode, data_of(stdout), stderr

    return run


FIRST_MEMBER_ABOVE = '{ "type": "echo",\n  "data": 5 }'
BRACKETS_APART = '{\n"type":"echo","data":\n[\n\n]}'.replace("\n\n", "\n")


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (json.dumps(VALUE, indent=2), VALUE["data"]),
        (json.dumps(VALUE, indent="\t").replace("\n", "\r\n"), VALUE["data"]),
        (FIRST_MEMBER_ABOVE, 5),
        (BRACKETS_APART, []),
    ],
)
def test_json_over_several_lines_is_one_message_among_lines(piped, text, data):
    code, came, told = piped(f"before\n{text}\n[info] {{ a text,\n{text}\nafter".encode())
    assert (code, came) == (0, ["before", data, "[info] { a text,", data, "after"]), told


def test_variables_are_filled_in_before_json_over_several_lines_is_checked(piped):
    text = '{\n  "type": "echo",\n  "data": {{last.data.userId}}\n}\n'
    code, [data], told = piped(text.encode(), "--templates")
    assert (code, str(data).startswith("guest")) == (0, True), told


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n  "type": "echo",\n  "data": 1,\n}', "lines 2 to 5 did not go through: it is no JSON: line 5, column 1"),
        ("{\n  'type': 'echo'\n}", "lines 2 to 4 did not go through: it is no JSON: line 3, column 3"),
        ('{\n  "type": "echo",\n', "lines 2 to 4 did not go through: it is no JSON: line 4"),
    ],
)
def test_broken_json_over_several_lines_is_refused_whole_with_its_place_and_the_rest_goes_on(piped, text, place):
    code, came, told = piped(f"before\n{text}\nafter\n".encode())
    assert (code, came) == (1, ["before", "after"])
    assert place in told
    assert "--raw" in told


def test_a_value_that_never_ends_is_told_at_the_end_of_the_input(piped):
    code, came, told = piped(b"before\n[\n1,\n2\n")
    assert (code, came) == (1, ["before"])
    assert "lines 2 to 4 did not go through" in told


def test_broken_json_with_a_variable_in_it_is_refused_and_not_sent_as_text(piped):
    code, came, told = piped(b'{"type":"echo","data":"{{now}}"\n{"type":"echo","data":{{last.type}}}\n', "--templates")
    assert (code, came) == (1, ["session_created"])
    assert "line 1 did not go through" in told


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be-mark"])
def test_a_byte_order_mark_is_no_part_of_the_first_line_and_says_how_to_read_the_rest(piped, encoding):
    text = '{"type":"echo","data":"é😀"}\r\nhello\r\n'
    content = b"\xfe\xff" + text.encode("utf-16-be") if encoding == "utf-16-be-mark" else text.encode(encoding)
    code, came, told = piped(content)
    assert (code, came) == (0, ["é😀", "hello"]), told


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE"])
def test_utf_16_without_a_mark_is_refused_with_the_mend(piped, encoding):
    code, came, told = piped("hello\n".encode(encoding))
    assert (code, came) == (2, [])
    assert f"looks like {encoding}" in told
    assert f"iconv -f {encoding} -t UTF-8" in told


@pytest.mark.parametrize(("content", "text"), [(b"\xef", "\ufffd"), (b"\xff\xfea\0b", "a\ufffd")])
def test_input_that_ends_within_a_mark_or_a_character_is_not_lost(piped, content, text):
    assert piped(content)[:2] == (0, [text])

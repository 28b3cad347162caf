"""Servers that mean harm, over real sockets: to the client in a pipe and in a terminal, whatever protocol it speaks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tcpserver import tcp_server
from wsclient import Client
from wsclient.recording import read_everything
from wsclient.tui.app import ConnectApp
from wsclient.tui.model.target import Target
from wscore.foreign import Frame, ProtocolName, ProtocolSettings

ROOT = Path(__file__).parents[2]
HANG_S = 60
MOST_KIB = 420 << 10
# Linux counts what the parent had before exec as the child's own peak, and a process that runs tests is large: so one
# that is small starts the command, and writes down what its child took.
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
CONT, TEXT, BINARY, CLOSE, PING = 0x0, 0x1, 0x2, 0x8, 0x9
# What no terminal may get: C0 but for line ends, C1, marks of direction. Where people read, nothing invisible either.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
UNSEEN = re.compile(f"{CONTROLS.pattern}|[\u200b\u2060]")
EVIL = "\x1b]0;evil\x07\x1b[2J\x9b31m\x00\u202etxt\u2066\u200b[/x][@click=app.quit]q[/]"
ESCAPED = EVIL.encode("unicode_escape").decode().replace("\\x", "\\u00")
NINES = "9" * 5000

TEXTS = [
    *("", " ", "null", "0", '"s"', "[]", "{}", "NaN", '{"type":NaN}', "\ufeff{}", "-", NINES, EVIL, "[/x]", "]]]["),
    *("[" * 100_000, '{"a":' * 50_000, "[" * 5000 + "]" * 5000, f'{{"type":"n","data":{"[" * 900 + "]" * 900}}}'),
    *(
        f'{{"type":"n","data":{NINES}}}',
        f'{{"type":"n","id":{NINES}}}',
        f'{{"type":{NINES}}}',
        '{"type":1e999,"id":-1}',
    ),
    *(r'{"type":"\ud800","id":"\udfff"}', r'{"type":"n","data":"\ud800"}', '{"type":"a","type":"b","id":1,"id":[]}'),
    f'{{"type":"{ESCAPED}","id":"{ESCAPED}","sessionId":"{ESCAPED}","data":{{"{ESCAPED}":"{ESCAPED}"}}}}',
    f'{{"event":"[@click=app.quit]x[/]","ref":"[/x]","payload":"{ESCAPED}"}}',
    *(f'{{"type":"{"t" * 100_000}","data":"{"d" * 100_000}"}}', '{"type":"error","data":{"code":[]}}'),
    *(
        '{"type":"disconnect","timestamp":1,"data":{"retryAfterMs":1e300}}',
        '{"type":"ping"}',
        '{"type":"pong","id":{}}',
    ),
    *('{"type":"session_created","timestamp":1,"data":{}}', '{"jsonrpc":"2.0","id":1,"error":null}', "[1,2,3,4,5]"),
    '{"text":"x","receivedAtMs":1}',
    '{"base64":"!"}',
    '{"event":"opened","atMs":1}',
]
BYTES = [
    *(b"", b"\x00", b"\xff" * 1000, bytes(range(256)) * 100),
    *(
        b"\x81" * 100_000,
        b"\x9b" + b"\xff" * 8,
        b"\xbb" + b"\xff" * 8,
        b"\x9f" * 50_000,
        b"\xd9\xd9\xf7\x81" + b"\xc2" * 9000,
    ),
    *(b"\x81\xc2\x5a\x00\x02\x00\x00" + b"\xff" * (2 << 16), b"\x81\xc4\x82\x1b" + b"\x7f" + b"\xff" * 7 + b"\x01"),
    *(
        b"\x81\xc5\x82\x1a\x7f\xff\xff\xff\x01",
        b"\x81\xd8\x23\x66(a+)+b",
        b"\x81\xd8\x1c\x81\xd8\x1d\x00",
        b"\x81\xf9\x7e\x00",
    ),
    *(
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x91\xc6\xff\xff\xff\xff",
        b"\x81\x90\x01",
    ),
    *(b"\x91\xdb\xff\xff\xff\xff", b"\x91\xa4\xff\xfe\xfd\xfc", b"\x91\xd6\xff\xff\xff\xff\xff", b"\x91\xc7\x02\x05ab"),
    b"\x82\xa4type\xa3" + b"\x1b[2" + b"\xa2id\xa2\xe2\x80",
]
# Each protocol's way to say hello, what else is odd in it, and the message by which the end is known.
HELLO: dict[str, list[Frame]] = {
    "socketio": ['0{"sid":"s","pingInterval":60000,"pingTimeout":60000}', '40{"sid":"s"}'],
    "graphql-ws": ['{"type":"connection_ack"}'],
    "phoenix": ['["1","1","room:lobby","phx_reply",{"status":"ok","response":{}}]'],
    "wsctl": [
        '{"type":"session_created","timestamp":1,"data":{"sessionId":"s","userId":"u","isGuest":true,"connectionId":"c",'
        '"heartbeat":{"intervalMs":25000,"timeoutMs":60000},"limits":{"maxMessageBytes":65536}}}'
    ],
}
ODD: dict[str, list[Frame]] = {
    "socketio": [
        *(
            '0{"pingInterval":1e999,"pingTimeout":-5}',
            "0",
            "40",
            '40{"sid":[]}',
            "6",
            "4",
            "49",
            "41/other,",
            "2" * 100_000,
        ),
        *('451-["a",{"_placeholder":true,"num":0}]', '4599999999999-["a"]', f'42{NINES}["x"]', f"43{NINES}[]"),
        *(f"42/{'n' * 100_000},[]", f'42["{ESCAPED}",1]', '44{"message":"late"}', f"4{'5' * 200_000}", '42["\\ud800"]'),
    ],
    "graphql-ws": ['{"type":"connection_ack"}', '{"type":"ping","payload":1}' * 2, f'{{"type":"next","id":{NINES}}}'],
    "phoenix": [
        *('["1","1","room:lobby","phx_error",{}]', '["1","1","room:lobby","phx_reply",{"status":"error"}]'),
        *('["1","1","room:lobby","phx_reply",7]', "[null,null,null,null,null]", f'[{NINES},1,"t","e",1e999]'),
        f'["1",null,"{ESCAPED}","{ESCAPED}",{{}}]',
    ],
    "jsonrpc": [
        f'{{"jsonrpc":"2.0","id":{NINES},"result":1}}',
        '[{"jsonrpc":"2.0"},7]',
        '{"jsonrpc":"2.0","result":null}',
    ],
    "settings": ["welcome", "welcome", "beat", '{"op":"beat"}', '{"head":{"kind":[]}}', '{"head":7}'],
    "auto": [],
}
END: dict[str, Frame] = {
    "socketio": '42["the-end",1]',
    "phoenix": '[null,null,"room:lobby","the-end",{}]',
    "jsonrpc": '{"jsonrpc":"2.0","method":"the-end"}',
}
SETTINGS = ProtocolSettings(
    name=ProtocolName.JSON, greeting="welcome", type_key="head.kind", beat="beat", beat_answer="pong", on_open=("hi",)
)
OPTIONS = {
    "settings": (
        *("--protocol", "json", "--greeting", "welcome", "--type-key", "head.kind"),
        *("--beat", "beat", "--beat-answer", "pong", "--on-open", "hi"),
    )
}
PROTOCOLS = [*ProtocolName, "settings"]
# In the default run two that have to find out what comes, and one with a protocol of its own.
FEW_PROTOCOLS = [
    pytest.param(name, marks=[] if name in ("auto", "json", "socketio") else [pytest.mark.slow]) for name in PROTOCOLS
]


def server_frame(payload: Frame, opcode: int | None = None) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data)
    head = bytes((0x80 | (opcode if opcode is not None else TEXT if isinstance(payload, str) else BINARY),))
    if size < 126:
        return head + bytes((size,)) + data
    return head + (b"\x7e" + size.to_bytes(2) if size < 65536 else b"\x7f" + size.to_bytes(8)) + data


async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *more: bytes) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).decode()
    key = re.search(r"(?i)sec-websocket-key: (\S+)", request)[1]
    accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
    head = [
        b"HTTP/1.1 101 Switching",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept,
    ]
    offered = re.search(r"(?i)sec-websocket-protocol: ([^,\r]+)", request)
    if offered:
        head.append(b"Sec-WebSocket-Protocol: " + offered[1].encode())
    writer.write(b"\r\n".join((*head, *more, b"", b"")))


def barrage(protocol: str) -> list[Frame]:
    # A wsctl server's binary frame ends the connection, and so does a greeting that is none.
    texts = [text for text in TEXTS if protocol != "wsctl" or "session_created" not in text]
    return [*ODD.get(protocol, []), *texts, *([] if protocol == "wsctl" else BYTES)]


@dataclass
class Ended:
    """How `wsctl connect` in a pipe ended; its highest resident size in KiB."""

    code: int
    stdout: str
    stderr: str
    most_kib: int


async def piped(folder: Path, url: str, *arguments: str, verbose: bool = True) -> Ended:
    arguments += ("-v",) if verbose else ()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", MEASURED, folder / "peak"),
                *(sys.executable, "-m", "cli.main", "connect", url, "--timeout", "30s", *arguments),
            ],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=clean | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            async with asyncio.timeout(HANG_S):
                code = await asyncio.to_thread(process.wait)
        except BaseException:
            process.kill()
            raise
    out, err, peak = ((folder / name).read_text("utf-8") for name in ("out", "err", "peak"))
    ended = Ended(code, out, err, int(peak))
    for text in (ended.stdout, ended.stderr):
        assert "Traceback" not in text, text[-3000:]
        assert not CONTROLS.search(text), CONTROLS.search(text)
    assert ended.code in (0, 1, 2, 3, 4), ended
    assert ended.most_kib < MOST_KIB
    return ended


def speaks(protocol: str) -> tuple[str, ...]:
    return OPTIONS.get(protocol) or ("--protocol", protocol)


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def bombing(protocol: str) -> Handle:
    """Greet as the protocol has it, send everything, and wait."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        end = END.get(protocol, '{"type":"the-end","timestamp":1,"head":{"kind":"the-end"}}')
        for frame in (*HELLO.get(protocol, []), *barrage(protocol), end):
            writer.write(server_frame(frame))
            with suppress(ConnectionError):
                await writer.drain()
        with suppress(ConnectionError):
            await reader.read()

    return handle


@pytest.mark.parametrize("protocol", FEW_PROTOCOLS)
async def test_a_pipe_survives_every_frame_and_its_recording_can_be_read(tmp_path, protocol):
    async with tcp_server(bombing(protocol)) as port:
        until = ("--until", "/the-end/", "--record", str(tmp_path / "talk.jsonl"))
        ended = await piped(tmp_path, f"ws://127.0.0.1:{port}/x", *speaks(protocol), *until)
    assert ended.code == 0, ended.stderr[-2000:]
    assert all(line.startswith("{") and line.endswith("}") for line in ended.stdout.splitlines())
    assert len(list(read_everything(tmp_path / "talk.jsonl"))) > len(barrage(protocol)) // 2


@pytest.mark.parametrize("protocol", FEW_PROTOCOLS)
async def test_a_terminal_survives_every_frame_and_shows_each(tmp_path, protocol):
    settings = SETTINGS if protocol == "settings" else ProtocolSettings(name=ProtocolName(protocol))
    async with tcp_server(bombing(protocol)) as port:
        url = f"ws://127.0.0.1:{port}/x"
        app = ConnectApp(
            target=Target(url),
            new_client=lambda target: Client(target.url),
            history_path=tmp_path / "history.jsonl",
            client=lambda: Client(url, protocol=settings),
        )
        async with app.run_test(size=(100, 40)) as pilot:
            stream = app.screen.stream
            async with asyncio.timeout(HANG_S):
                while not any("the-end" in (row.record.text if row.record else "") for row in rows_of(stream)):
                    await pilot.pause(0.05)
            await pilot.press("f2", "f3", "enter")
            drawn = []
            for position in range(len(stream.view)):
                stream.go_to(position)
                await pilot.pause()
                drawn += [segment.text for y in range(stream.size.height) for segment in stream.render_line(y)]
                drawn.append(app.screen.query_one("#detail-body").content.plain)
            drawn.append(app.export_screenshot())
            assert not UNSEEN.search("".join(drawn)), UNSEEN.search("".join(drawn))
            assert app._exit is False


def rows_of(stream):
    return [stream.view.entry(position) for position in range(len(stream.view))]


def ending(*after: bytes, more: tuple[bytes, ...] = ()) -> Handle:
    """Shake hands, send some bytes, and end when the client says anything."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer, *more)
        writer.write(b"".join(after))
        with suppress(ConnectionError):
            await reader.read(1 << 16)  # the client's close
        writer.transport.abort()

    return handle


def answering(*parts: bytes) -> Handle:
    """Answer the request with these bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
            writer.close()

    return handle


ESC = EVIL.encode()
ENDS = {
    "close 1005": (ending(server_frame(b"\x03\xed", CLOSE)), 1),
    "close 9999": (ending(server_frame(b"\x27\x0f", CLOSE)), 1),
    "close of one byte": (ending(server_frame(b"\x03", CLOSE)), 1),
    "close with an escape": (ending(server_frame(b"\x0f\xa1" + ESC[:100], CLOSE)), 1),
    "close without UTF-8": (ending(server_frame(b"\x0f\xa1\xff\xfe", CLOSE)), 1),
    "text without UTF-8": (ending(server_frame(b"\xff\xfe", TEXT)), 1),
    "a masked frame": (ending(b"\x81\x85abcdefghi"), 1),
    "an opcode of nobody": (ending(server_frame(b"", 0x7)), 1),
    "a ping too long": (ending(server_frame(b"x" * 126, PING)), 1),
    "more to come of nothing": (ending(server_frame(b"x", CONT)), 1),
    "too large": (ending(server_frame("x" * (17 << 20))), 1),
    "a length of 2^63": (ending(b"\x81\x7f" + b"\xff" * 8), 1),
    "odd headers": (ending(server_frame(b"\x0f\xa1", CLOSE), more=(b"X-A: " + ESC[:20].replace(b"\x00", b""),)), 3),
    "a subprotocol of nobody": (ending(more=(b"Sec-WebSocket-Protocol: evil",)), 3),
    "an extension of nobody": (ending(more=(b"Sec-WebSocket-Extensions: evil; x=\x1b[2J",)), 3),
    "a refusal with escapes": (
        answering(
            b"HTTP/1.1 403 \x1b[2J No\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\n" + (ESC * 3)[:99]
        ),
        (3, 4),
    ),
    "a challenge with escapes": (
        answering(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic \x9b31m\r\nContent-Length: 0\r\n\r\n"),
        (3, 4),
    ),
    "a body without end": (
        answering(b"HTTP/1.1 500 No\r\nContent-Type: text/plain\r\n\r\n", *[b"x" * (1 << 20)] * 64),
        3,
    ),
    "headers without end": (answering(b"HTTP/1.1 101 Yes\r\n", *[b"X-%d: y\r\n" % n for n in range(5000)]), 3),
    "a line without end": (answering(b"HTTP/1.1 " + b"1" * (4 << 20)), 3),
    "no HTTP": (answering(ESC * 100), 3),
    "nothing": (answering(), 3),
    "round and round": (answering(b"HTTP/1.1 302 Yes\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"), 3),
    "elsewhere with an escape": (
        answering(b"HTTP/1.1 302 Yes\r\nLocation: \x1b]0;x\x07\r\nContent-Length: 0\r\n\r\n"),
        3,
    ),
}


@pytest.mark.parametrize("name", ENDS)
async def test_a_connection_that_ends_badly_is_told_in_clean_words(tmp_path, name):
    handle, codes = ENDS[name]
    async with tcp_server(handle) as port:
        ended = await piped(tmp_path, f"ws://127.0.0.1:{port}/x", "--protocol", "raw", "--no-reconnect")
    assert ended.code in (codes if isinstance(codes, tuple) else (codes,)), ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("wsctl: ")


@pytest.mark.parametrize("protocol", ["raw", "json", "auto"])
async def test_messages_of_16_mib_are_taken_one_by_one(tmp_path, protocol):
    most = (16 << 20) - 20

    async def handle(reader, writer):
        await shake_hands(reader, writer)
        for payload in ('{"type":"' + "x" * (most - 2), "[" * most, "é" * (most // 2), b"\x91" * most, "the-end"):
            writer.write(server_frame(payload))
            await writer.drain()
        await reader.read()

    async with tcp_server(handle) as port:
        until = ("--until", "/the-end/", "--filter", "/^the-end/")
        ended = await piped(tmp_path, f"ws://127.0.0.1:{port}/x", "--protocol", protocol, *until)
    assert ended.code == 0, ended.stderr[-2000:]


async def test_a_flood_of_pings_by_a_server_that_reads_nothing_ends_the_connection(tmp_path):
    pings = server_frame(b"x" * 125, PING) * 1000

    async def handle(reader, writer):
        writer.transport.get_extra_info("socket").setsockopt(1, 8, 4096)  # SO_RCVBUF
        await shake_hands(reader, writer)
        writer.transport.pause_reading()
        with suppress(ConnectionError):
            while True:
                writer.write(pings)
                await writer.drain()

    async with tcp_server(handle) as port:
        ended = await piped(tmp_path, f"ws://127.0.0.1:{port}/x", "--protocol", "raw", "--filter", "x", verbose=False)
    assert ended.code == 1
    assert "the server reads none of the answers to its pings" in ended.stderr

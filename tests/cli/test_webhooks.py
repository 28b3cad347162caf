"""`wsctl serve --webhook`: a real backend is told what happens, in order and signed, and harms nobody if it is bad."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.backend import SECRET, Backend
from tests.cli.conftest import HANG_S, ROOT, environment
from tests.cli.operators import Member
from tests.cli.test_serve_workers import Serving as Workers

PAGE = ROOT / "docs" / "webhooks.md"
TYPES = ["connected", "room_occupied", "joined", "left", "room_vacated", "disconnected"]


@pytest.fixture
def backend():
    with Backend() as backend:
        yield backend


@pytest.fixture
def serve(serving):
    def start(*options, targets=(), **variables):
        hooks = [word for url in targets for word in ("--webhook", url)]
        return serving(*hooks, *options, WSCTL_WEBHOOK_SECRET=SECRET, **variables)

    return start


def said(client: Member, type, data=None):
    client.ws.send(json.dumps({"type": type, "timestamp": 1, "data": data}))


def test_what_a_client_does_is_told_in_its_order(serve, backend):
    server = serve(targets=[backend.url])
    with ExitStack() as stack:
        client = Member(stack, server.url, "lobby", "hall")
        said(client, "room.leave", {"room": "hall"})
        client.receive("room.left")
        client.ws.close(4100, "bye")
    events = backend.events(6)
    assert [event["type"] for event in events] == TYPES
    who = {"connection": client.id, "user": client.user, "isGuest": True, "session": "lobby"}
    opened, occupied, joined, left, vacated, closed = events
    assert opened.items() >= {**who, "address": "127.0.0.1"}.items()
    assert joined.items() >= {**who, "room": "hall"}.items() <= left.items() | joined.items()
    assert closed.items() >= {**who, "code": 4100, "by": "peer"}.items()
    assert 0 <= closed["durationMs"] < HANG_S * 1000
    assert (occupied["room"], vacated["room"]) == ("hall", "hall")
    assert occupied["order"] < vacated["order"]
    assert occupied.keys() == {"id", "type", "timestamp", "room", "order"}
    assert len({event["id"] for event in events}) == 6
    assert events == sorted(events, key=lambda event: event["timestamp"])
    assert server.stop() == 0


def test_a_member_that_goes_without_a_word_has_left_before_it_is_disconnected(serve, backend):
    server = serve(targets=[backend.url])
    with ExitStack() as stack:
        client = Member(stack, server.url, "s", "hall")
        client.ws.socket.shutdown(socket.SHUT_RDWR)
    assert [event["type"] for event in backend.events(6)] == TYPES


def test_only_chosen_events_are_told_and_every_target_gets_them(serve, backend):
    with Backend() as other:
        server = serve("--webhook-events", "joined,disconnected", targets=[backend.url, other.url])
        with ExitStack() as stack:
            Member(stack, server.url, "s", "hall")
        for target in (backend, other):
            assert [event["type"] for event in target.events(2)] == ["joined", "disconnected"]
        assert server.stop() == 0


def test_the_end_of_the_server_is_told_within_its_time(serve, backend):
    server = serve("--drain-timeout", "3s", targets=[backend.url])
    with ExitStack() as stack:
        clients = [Member(stack, server.url, "s", "hall") for _ in range(20)]
        backend.events(41)
        server.process.terminate()
        for client in clients:
            client.receive("disconnect")
            client.ws.close()
        assert server.process.wait(HANG_S) == 0
    events = backend.events(41)
    assert [event["type"] for event in events].count("disconnected") == 20
    assert {event["by"] for event in events if event["type"] == "disconnected"} == {"shutdown"}
    assert events[-2]["type"] == "room_vacated" or events[-1]["type"] == "disconnected"
    assert len([event for event in events if event["type"] == "room_vacated"]) == 1


def hang(handler):
    handler.wfile.flush()
    handler.rfile.read()


def redirect(handler):
    handler.send_response(307)
    handler.send_header("Location", "/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def huge(handler):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    with_chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    try:
        for _ in range(10_000):
            handler.wfile.write(with_chunk)
    except OSError:
        handler.close_connection = True


def endless_head(handler):
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(10_000):
            handler.wfile.write(b"X-Y: " + b"z" * 10_000 + b"\r\n")
    except OSError:
        handler.close_connection = True


def garbage(handler):
    handler.wfile.write(b"\x00\xff not HTTP \x1b[31m canary-answer\r\n\r\n")
    handler.close_connection = True


def cut(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
    handler.close_connection = True


def bomb(handler):
    handler.send_response(500, "canary-answer\x1b[31m")
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Retry-After", "-1")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def name_of(answer):
    return getattr(answer, "__name__", str(answer))


@pytest.mark.parametrize("answer", [500, 404, redirect, huge, endless_head, garbage, cut, bomb], ids=name_of)
def test_a_backend_that_answers_badly_is_asked_again_and_holds_nobody_up(serve, backend, answer):
    backend.answers = [answer]
    secret_path = backend.url.replace("/hooks", "/canary-path")
    server = serve("--webhook-events", "connected", targets=[secret_path])
    with ExitStack() as stack:
        client = Member(stack, server.url, "s")
        first, second = backend.next(), backend.next()
        assert (first.id, first.raw) == (second.id, second.raw), "it is not the same request"
        said(client, "ping")
        client.receive("pong")
    assert server.stop() == 0
    log = "".join(server.lines)
    assert "webhook.failing" in log
    assert "webhook.recovered" in log
    for secret in ("canary", str(secret_path.split(":")[2].split("/")[0]), SECRET, SECRET[6:]):
        assert secret not in log
    assert "raceback" not in log


def test_a_backend_that_hangs_or_is_down_costs_the_end_no_more_than_its_time(serve, backend):
    backend.answers = [hang] * 100
    with socket.create_server(("127.0.0.1", 0)) as taken:
        down = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    server = serve("--drain-timeout", "2s", targets=[backend.url, down])
    with ExitStack() as stack:
        Member(stack, server.url, "s")
        backend.next()
        assert server.stop() == 0
    dropped = [json.loads(line) for line in server.lines if "webhook.dropped" in line]
    assert {(fields["target"], fields["events"]) for fields in dropped} == {(1, 2), (2, 2)}


def test_a_certificate_that_nobody_vouches_for_is_refused(serve, make_certificate, backend):
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = make_certificate("127.0.0.1")
    context.load_cert_chain(certificate.cert, certificate.key)
    backend._server.socket = context.wrap_socket(backend._server.socket, server_side=True)
    server = serve(targets=[backend.url.replace("http:", "https:")])
    with ExitStack() as stack:
        Member(stack, server.url, "s")
        assert server.wait_for("webhook.failing")["problem"] == "its certificate is not one to trust"
    server.stop()
    assert backend.posted.empty()
    trusting = serve(targets=[backend.url.replace("http:", "https:")], SSL_CERT_FILE=str(certificate.cert))
    with ExitStack() as stack:
        Member(stack, trusting.url, "s")
        assert backend.events(1)[0]["type"] == "connected"


@pytest.mark.parametrize(
    ("options", "variables", "says"),
    [
        (["--webhook", "http://127.0.0.1:1/"], {}, r"--webhook: no secret is set .*WSCTL_WEBHOOK_SECRET.*openssl"),
        (["--webhook", "http://127.0.0.1:1/"], {"WSCTL_WEBHOOK_SECRET": "canary"}, r"WSCTL_WEBHOOK_SECRET: a"),
        (["--webhook", "http://h/?canary"], {"WSCTL_WEBHOOK_SECRET": SECRET}, r"--webhook: .*list of processes"),
        (["--webhook", "canary"], {"WSCTL_WEBHOOK_SECRET": SECRET}, r"--webhook: is not an http or https URL"),
        (["--webhook", "http://h/", "--webhook-events", "x"], {"WSCTL_WEBHOOK_SECRET": SECRET}, r"no event 'x'"),
        (["--webhook", "http://h/", "--webhook-memory", "1KiB"], {"WSCTL_WEBHOOK_SECRET": SECRET}, r"--webhook-memory"),
        (["--webhook-secret-file", "nope"], {}, r"--webhook-secret-file: there is no webhook"),
        (["--webhook", "http://h/", "--webhook-secret-file", "nope"], {}, r"--webhook-secret-file: nope: No such"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told_at_the_start(wsctl, options, variables, says):
    result = wsctl("serve", "--port", "0", *options, **variables)
    assert result.returncode == 2
    assert re.search(says, result.stderr.replace("\n", " ")), result.stderr
    assert "canary" not in result.stderr


def test_the_http_client_is_loaded_where_it_is_asked_for():
    program = "import sys, wsserver, cli.serve; sys.exit('h11' in sys.modules or 'httpcore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment(), timeout=HANG_S).returncode == 0


def test_a_query_is_taken_from_the_environment(serve, backend):
    server = serve(afresh=True, WSCTL_WEBHOOK=f"{backend.url}?key=canary")
    with ExitStack() as stack:
        Member(stack, server.url, "s")
        assert backend.next().events[0]["type"] == "connected"
    command = Path(f"/proc/{server.process.pid}/cmdline").read_text()
    assert "canary" not in command
    server.stop()
    assert "canary" not in "".join(server.lines)


def test_two_workers_tell_of_a_room_once(start_wsctl, redis, backend):
    serving = Workers(
        start_wsctl(
            *("serve", "--port", "0", "--workers", "2", "--broker", redis.url, "--webhook", backend.url),
            *("--webhook-events", "room_occupied,room_vacated,joined,left"),
            WSCTL_WEBHOOK_SECRET=SECRET,
        )
    )
    serving.banner()
    with ExitStack() as stack:
        members = [Member(stack, serving.url, "s", "hall") for _ in range(12)]
        come = backend.events(13)
        assert sorted(event["type"] for event in come) == ["joined"] * 12 + ["room_occupied"]
        for member in members:
            said(member, "room.leave", {"room": "hall"})
        gone = backend.events(13)
        assert sorted(event["type"] for event in gone) == ["left"] * 12 + ["room_vacated"]
    orders = [event["order"] for event in come + gone if "order" in event]
    assert orders == sorted(orders)
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(HANG_S) == 0
    assert backend.posted.empty()


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_no_room_occupied(start_wsctl, redis, backend):
    serving = Workers(
        start_wsctl(
            *("serve", "--port", "0", "--workers", "2", "--broker", redis.url, "--webhook", backend.url),
            *("--webhook-events", "room_occupied,room_vacated"),
            WSCTL_WEBHOOK_SECRET=SECRET,
        )
    )
    serving.banner()
    with ExitStack() as stack:
        rooms = {f"room{number}" for number in range(8)}
        for room in rooms:
            Member(stack, serving.url, "s", room)
        assert {event["room"] for event in backend.events(8)} == rooms
        for pid in serving.workers:
            os.kill(pid, signal.SIGKILL)
        assert {event["room"] for event in backend.events(8) if event["type"] == "room_vacated"} == rooms


@pytest.mark.parametrize(("language", "program"), [("python", [sys.executable]), ("js", ["node"])])
def test_the_receivers_of_the_page_receive(serve, tmp_path, language, program):
    if shutil.which(program[0]) is None:
        pytest.skip("node is not installed")
    source = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)[0]
    assert len([line for line in source.splitlines() if line.strip()]) <= 12
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "webhook.key").write_text(f"{SECRET}\n")
    file = tmp_path / f"receiver.{language}"
    file.write_text(source.replace("9000", str(port)))
    with subprocess.Popen(
        [*program, file], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as receiver:
        try:
            server = serve("--webhook-secret-file", "webhook.key", targets=[f"http://127.0.0.1:{port}/"])
            with ExitStack() as stack:
                Member(stack, server.url, "s", "hall")
            assert receiver.stdout is not None
            assert [receiver.stdout.readline().split()[0] for _ in TYPES] == TYPES
            for headers in ({}, {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,canary"}):
                try:
                    forged = httpx.post(f"http://127.0.0.1:{port}/", json={}, headers=headers, trust_env=False)
                    assert forged.status_code != 204
                except httpx.RemoteProtocolError:
                    pass  # the one in Python hangs up
            assert server.stop() == 0
        finally:
            receiver.kill()

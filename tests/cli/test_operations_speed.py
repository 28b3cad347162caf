"""What the operations port costs: by the processor time of the server, which other programs do not take."""

from __future__ import annotations

import socket

import httpx
import psutil
import pytest

from tests.cli.conftest import HANG_S

PUBLISHES = 4000
PER_SECOND = 2000
SCRAPES = 100
SCRAPE_S = 0.005


def serving(start_wsctl, *options):
    process = start_wsctl("serve", "--port", "0", "--ops-port", "0", "--log-level", "warning", *options)
    url = next(line.split()[1] for line in process.stderr if line.startswith("  ops:"))
    return psutil.Process(process.pid), url


@pytest.fixture
def port(start_wsctl):
    return serving(start_wsctl)


def spent_s(process):
    """Return the processor time of a server, with its workers."""
    all_times = [each.cpu_times() for each in (process, *process.children())]
    return sum(times.user + times.system for times in all_times)


@pytest.mark.slow
def test_two_thousand_publishes_a_second_take_less_than_one_core(port):
    process, url = port
    host = url.removeprefix("http://")
    body = b'{"type":"news","data":{"text":"hello"},"room":"lobby"}'
    head = f"POST /api/v1/publish HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    address, _, number = host.rpartition(":")
    before = spent_s(process)
    with socket.create_connection((address, int(number)), HANG_S) as peer:
        for _ in range(PUBLISHES):
            peer.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += peer.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200"), answer
    assert (spent_s(process) - before) / PUBLISHES < 1 / PER_SECOND


def test_a_scrape_takes_less_than_five_milliseconds(port):
    check_scrapes(*port)


@pytest.mark.slow
def test_a_scrape_of_two_workers_and_their_supervisor_takes_no_more(start_wsctl, redis):
    check_scrapes(*serving(start_wsctl, "--workers", "2", "--broker", redis.url))


def check_scrapes(process, url):
    with httpx.Client(base_url=url, timeout=HANG_S, trust_env=False) as client:
        client.get("/metrics").raise_for_status()
        before = spent_s(process)
        for _ in range(SCRAPES):
            client.get("/metrics").raise_for_status()
        assert (spent_s(process) - before) / SCRAPES < SCRAPE_S

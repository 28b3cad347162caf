"""The shops of examples/: backends and a worker that send from outside, each as a process beside a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from time import sleep
from typing import Any

import httpx
import pytest

from tests.cli.conftest import HANG_S, environment
from tests.cli.operators import Member
from tests.examples.conftest import EXAMPLES
from wsclient import Publisher

KEY = "0123456789abcdef-operator"


@pytest.fixture
def ops(start_wsctl: Callable[..., subprocess.Popen[str]]) -> Iterator[tuple[str, Callable[..., Member]]]:
    """Start a server with an operations port and a key; yields where that is, and what makes members."""
    process = start_wsctl("serve", "--port", "0", "--ops-port", "0", WSCTL_OPS_KEY=KEY)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("wsctl serves "):
            url = line.split()[2]
        if line.startswith("  ops:"):
            with ExitStack() as stack:
                yield line.split()[1], partial(Member, stack, url)
            return
    raise AssertionError(f"it ended: {process.wait()}")


@contextmanager
def running(name: str, *command: str, ops_url: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=EXAMPLES / name,
        env=environment(WSCTL_OPS_URL=ops_url, WSCTL_OPS_KEY=KEY, PYTHONWARNINGS="default"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(HANG_S)


def answer_of(process: subprocess.Popen[bytes], url: str, **body: Any) -> Any:
    """Return what a backend answers, once it listens."""
    with httpx.Client(trust_env=False, timeout=HANG_S) as client:
        while process.poll() is None:
            with suppress(httpx.ConnectError):
                answer = client.post(url, **body)
                assert answer.status_code == 200, answer.text
                return answer.json()
            sleep(0.02)
    raise AssertionError(f"it ended with {process.returncode}")


BACKENDS = [
    pytest.param("shop_django", ("shop_django", "runserver", "--noreload"), "data", "127.0.0.1:{port}", id="django"),
    pytest.param("shop_fastapi", ("uvicorn", "shop_fastapi:api", "--port"), "json", "{port}", id="fastapi"),
]


@pytest.mark.parametrize(("name", "command", "form", "place"), BACKENDS)
def test_a_backend_tells_the_buyer_once(ops, free_port, name, command, form, place):
    url, member = ops
    ann = member("s")
    pay, other = (f"http://127.0.0.1:{free_port}/orders/{number}/pay" for number in (17, 18))
    with running(name, *command, place.format(port=free_port), ops_url=url) as process:
        for _ in range(2):  # somebody has pressed the button twice
            assert answer_of(process, pay, **{form: {"buyer": ann.user}}) == {"paid": 17, "told": True}
        assert ann.receive("order.paid")["data"] == {"order": 17}
        assert answer_of(process, other, **{form: {"buyer": ann.user}})["told"]
        assert ann.receive("order.paid")["data"] == {"order": 18}  # and not 17 again


@pytest.mark.parametrize(("name", "command", "form", "place"), BACKENDS)
def test_a_backend_answers_also_without_the_server(free_port, name, command, form, place):
    pay = f"http://127.0.0.1:{free_port}/orders/17/pay"
    with running(name, *command, place.format(port=free_port), ops_url="http://127.0.0.1:1") as process:
        answer = answer_of(process, pay, **{form: {"buyer": "ann"}})
    assert (answer["paid"], answer["told"]) == (17, False)
    assert "Connection refused" in answer["why"]


WORK = """
from celery.contrib.testing.worker import start_worker
import celery.contrib.testing.tasks
from shop_celery import app, make_report

app.conf.result_backend = "cache+memory://"
with start_worker(app, pool="threads", perform_ping_check=False):
    first = make_report.apply_async((17, "ann"), task_id="task-1")
    print(first.get(timeout=30))
    again = make_report.apply_async((17, "ann"), task_id="task-1")
    print(again.get(timeout=30))
"""


def test_a_worker_tells_how_far_it_is_and_a_task_that_runs_again_tells_nothing_twice(ops):
    url, member = ops
    ann = member("s", "report.17")
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=EXAMPLES / "shop_celery",
        env=environment(WSCTL_OPS_URL=url, WSCTL_OPS_KEY=KEY, PYTHONWARNINGS="default")
        | {"PYTHONPATH": os.pathsep.join((str(EXAMPLES / "shop_celery"), str(EXAMPLES.parent)))},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "2"]
    assert [ann.receive("report.progress")["data"]["percent"] for _ in range(2)] == [50, 100]
    with Publisher(url, KEY) as publisher:
        assert len(publisher.history(room="report.17")) == 2

"""A Celery worker that tells buyers how far their reports are: `celery --app shop_celery worker`."""

from __future__ import annotations

import os

from celery import Celery, Task

from wsclient import OperationsError, OperationsKeyError, Publisher

app = Celery("shop_celery", broker=os.environ.get("CELERY_BROKER", "memory://"))
publisher = Publisher()  # for all processes of the worker; WSCTL_OPS_URL and WSCTL_OPS_KEY say where, with which key


@app.task(  # type: ignore[untyped-decorator]
    bind=True,
    acks_late=True,  # a worker that dies leaves its task to another one
    autoretry_for=(OperationsError,),
    dont_autoretry_for=(OperationsKeyError,),
    retry_backoff=True,
    max_retries=8,
)
def make_report(self: Task, report: int, buyer: str) -> int | None:
    """Make a report, and tell those in its room; returns the place of the last message there.

    The task has the same id when it runs again, so that nobody is told the same twice.
    """
    seq = None
    for percent in (50, 100):
        data = {"report": report, "percent": percent, "buyer": buyer}
        key = f"{self.request.id}-{percent}"
        seq = publisher.publish("report.progress", data, room=f"report.{report}", idempotency_key=key).seq
    return seq

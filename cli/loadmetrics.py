"""A running load test for whoever watches it: in Prometheus' text format on a port of this machine, and over OTLP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from cli.loadotlp import OtlpPush, pushing
from cli.options.load import ReportOptions
from cli.output import note
from loadtest.reports.samples import exposition
from loadtest.wire import Plan, RunProgress
from wscore.errors import ConfigError

HOST: Final = "127.0.0.1"
REQUEST_TIMEOUT_S: Final = 5.0
_HEAD: Final = (
    "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
    "Content-Length: {length}\r\nConnection: close\r\n\r\n"
)


class RunMetrics:
    """The last second of the run of the moment."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._last: RunProgress | None = None
        self.push: OtlpPush | None = None

    def see(self, plan: Plan, second: RunProgress) -> None:
        """Take a second."""
        self._plan, self._last = plan, second
        if self.push is not None:
            self.push.see(plan, second)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
            is_known = request.split(b" ", 2)[:2] in ([b"GET", b"/metrics"], [b"GET", b"/"])
            text = "it is at /metrics\n" if not is_known else ""
            if is_known and self._plan is not None:
                text = exposition(self._plan, self._last)
            body = text.encode()
            status = "200 OK" if is_known else "404 Not Found"
            writer.write(_HEAD.format(status=status, length=len(body)).encode() + body)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def metrics_on(report: ReportOptions) -> AsyncIterator[RunMetrics]:
    """Show the metrics of what runs in the block to whom the options say; raises ConfigError."""
    metrics = RunMetrics()
    async with _serving(metrics, report.metrics_port), pushing(report.otlp) as metrics.push:
        yield metrics


@asynccontextmanager
async def _serving(metrics: RunMetrics, port: int | None) -> AsyncIterator[None]:
    if port is None:
        yield
        return
    try:
        server = await asyncio.start_server(metrics.answer, HOST, port)
    except OSError as error:
        raise ConfigError("--metrics-port", f"{port}: {error.strerror}", "choose another port") from None
    note(f"metrics: http://{HOST}:{port}/metrics")
    async with server:
        yield

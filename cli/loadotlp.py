"""`--otlp`: the seconds of a running load test, pushed to an OpenTelemetry collector over HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cli.output import note
from cli.variables import in_environment
from loadtest.reports.samples import PREFIX, RunSample, described, samples
from loadtest.wire import Plan, RunProgress
from wsclient.url import shown_url
from wscore.errors import ConfigError
from wscore.installation import install_line
from wscore.text import neutralise, redact
from wscore.wallclock import now_ms

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, MetricsData

VARIABLES: Final = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PATH: Final = "/v1/metrics"
SERVICE: Final = "wsctl-loadtest"
LAST_EXPORT_S: Final = 5.0  # after the run; tries again until then
_NEEDED: Final = ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_LOGGER: Final = "opentelemetry"


class OtlpPush:
    """Exports the newest second as long as there are any; one that comes during an export waits, and only the last."""

    def __init__(self, endpoint: str | None) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        self._words = _LastWords()
        logger = logging.getLogger(_LOGGER)  # what it says goes into the note at the end, not to the screen as it comes
        logger.addHandler(self._words)
        logger.propagate = False
        self._exporter: Any = OTLPMetricExporter(endpoint=endpoint)
        self._newest: tuple[Plan, RunProgress, int] | None = None
        self._has_news = asyncio.Event()
        self._is_over = False
        self._giving_up: asyncio.TimerHandle | None = None
        self._exports = 0
        self._failures = 0

    def see(self, plan: Plan, second: RunProgress) -> None:
        """Take a second; those of a worker are in its master's."""
        if plan.worker_of:
            return
        self._newest = plan, second, now_ms() * 1_000_000
        self._has_news.set()

    async def run(self) -> None:
        """Export until `end`."""
        while not self._is_over or self._newest is not None:
            await self._has_news.wait()
            self._has_news.clear()
            if self._newest is not None:
                plan, second, now_ns = self._newest
                self._newest = None
                await asyncio.to_thread(self._export, plan, second, now_ns)

    def end(self) -> None:
        """Let `run` end with what it has still got to export, and what fails then be given up soon."""
        self._is_over = True
        self._has_news.set()
        self._giving_up = asyncio.get_running_loop().call_later(LAST_EXPORT_S, self._exporter.shutdown)

    def close(self) -> None:
        """Close it, after `run`."""
        if self._giving_up is not None:
            self._giving_up.cancel()
        self._exporter.shutdown()
        logging.getLogger(_LOGGER).removeHandler(self._words)

    def outcome(self) -> str:
        """Return what became of the exports, for people."""
        if not self._failures:
            return f"otlp: {self._exports} exports, all taken"
        return f"otlp: {self._failures} of {self._exports} exports FAILED: {self._words.last}"

    def _export(self, plan: Plan, second: RunProgress, now_ns: int) -> None:
        from opentelemetry.sdk.metrics.export import MetricExportResult

        self._exports += 1
        result = self._exporter.export(metrics_data(plan, second, now_ns))
        self._failures += result is not MetricExportResult.SUCCESS


@asynccontextmanager
async def pushing(url: str | None) -> AsyncIterator[OtlpPush | None]:
    """Push what runs in the block to the collector of `--otlp`, else of the environment; raises ConfigError."""
    variable = next((name for name in VARIABLES if os.environ.get(name)), None)
    if url is None and variable is None:
        yield None
        return
    if not _is_installed():
        if url is not None:
            raise ConfigError("--otlp", "its packages are not installed", install_line("otlp"))
        note(f"{variable} is set, but nothing is exported: its packages come with {install_line('otlp')}")
        yield None
        return
    endpoint = None if url is None else endpoint_of(url)
    push = OtlpPush(endpoint)
    note(f"otlp: to {shown_url(endpoint or os.environ[str(variable)])}")
    running = asyncio.create_task(push.run())
    try:
        yield push
    finally:
        push.end()
        await running
        note(push.outcome())
        push.close()


def endpoint_of(url: str) -> str:
    """Return where a collector takes metrics; raises ConfigError."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise ConfigError("--otlp", f"{shown_url(url)!r} is no URL of HTTP", "it is such as http://127.0.0.1:4318")
    if parts.username is not None and any(url in argument for argument in sys.argv):
        raise ConfigError(
            "--otlp", "holds a password, which others see in the list of processes", in_environment("--otlp")
        )
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith(PATH) else path + PATH).geturl()


def metrics_data(plan: Plan, second: RunProgress, now_ns: int) -> MetricsData:
    """Return the samples of a second as OpenTelemetry has them; what it is of is the resource."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE}
    resource = Resource.create({**name, "service.instance.id": plan.run_id})
    begun_ns = now_ns - int(second.elapsed_s * 1e9)
    in_order = groupby(
        sorted(samples(plan, second), key=lambda sample: sample.name + sample.suffix),
        key=lambda sample: (sample.name, sample.suffix),
    )
    metrics = [_metric(name, suffix, list(found), begun_ns, now_ns) for (name, suffix), found in in_order]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(InstrumentationScope(SERVICE), metrics, "")], "")])


def _metric(name: str, suffix: str, found: list[RunSample], begun_ns: int, now_ns: int) -> Metric:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Metric, NumberDataPoint, Sum

    points = [NumberDataPoint(dict(sample.labels), begun_ns, now_ns, sample.value) for sample in found]
    grows = bool(suffix) or found[0].kind == "counter"
    data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True) if grows else Gauge(points)
    return Metric(PREFIX + name + suffix, described(name), "", data)


def _is_installed() -> bool:
    try:
        return all(find_spec(name) is not None for name in _NEEDED)
    except ModuleNotFoundError:  # of a parent
        return False


class _LastWords(logging.Handler):
    """Keeps the last thing that was logged, without what can be a secret in a URL."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = "no reason given"

    def emit(self, record: logging.LogRecord) -> None:
        self.last = neutralise(re.sub(r"\?\S+", "?...", redact(record.getMessage())))

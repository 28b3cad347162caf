"""A running load test reaches an OpenTelemetry collector, as what a receiver of OTLP decodes from it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cli import loadotlp
from tests.cli.test_loadtest_verdicts import URL, loadtest  # noqa: F401 - a fixture

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `otlp` is not installed")

KEY = "k3y-that-nobody-sees"


class Collector:
    """Takes OTLP over HTTP; `status` is what it answers."""

    def __init__(self) -> None:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        self.requests: list[Any] = []
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = ExportMetricsServiceRequest()
                request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
                collector.requests.append(request)
                collector.paths.append(self.path)
                collector.keys.append(self.headers.get("x-api-key"))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def values(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Return the points of a metric in the last request, by their attributes."""
        (resource,) = self.requests[-1].resource_metrics
        (found,) = [metric for metric in resource.scope_metrics[0].metrics if metric.name == name]
        points = (found.sum if found.HasField("sum") else found.gauge).data_points
        return {
            tuple(sorted((label.key, label.value.string_value) for label in point.attributes)): point.as_double
            or point.as_int
            for point in points
        }


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name in loadotlp.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    taking = Collector()
    thread = threading.Thread(target=taking.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield taking
    taking.server.shutdown()
    thread.join()
    taking.server.server_close()


def test_a_collector_gets_the_seconds_of_a_run(loadtest, collector, monkeypatch):  # noqa: F811
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-api-key={KEY}")
    result = loadtest("broadcast", URL + "seconds=3&errors=2", "--otlp", collector.url)
    assert result.code == 99
    assert set(collector.paths) == {"/v1/metrics"}
    assert set(collector.keys) == {KEY}
    assert KEY not in result.out + result.err
    assert f"otlp: {len(collector.requests)} exports, all taken" in result.err
    assert collector.values("wsctl_loadtest_sent_total") == {(): 300}
    assert collector.values("wsctl_loadtest_errors_total") == {(): 2}
    assert collector.values("wsctl_loadtest_phase")[(("phase", "steady"),)] == 1
    assert collector.values("wsctl_loadtest_connections")[(("state", "open"),)] == 100
    (resource,) = collector.requests[-1].resource_metrics
    labels = {label.key: label.value.string_value for label in resource.resource.attributes}
    ((about, _),) = collector.values("wsctl_loadtest_info").items()
    assert labels["service.name"] == "wsctl-loadtest"
    assert dict(about) == {"kind": "broadcast", "run_id": labels["service.instance.id"]}
    sums = {metric.name: metric.sum.is_monotonic for metric in resource.scope_metrics[0].metrics if metric.sum}
    assert sums["wsctl_loadtest_sent_total"]


def test_the_environment_says_where_too(loadtest, collector, monkeypatch):  # noqa: F811
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    assert loadtest("heartbeat", URL).code == 0
    assert collector.paths
    assert set(collector.paths) == {"/v1/metrics"}


def test_a_collector_that_refuses_is_counted_and_changes_no_verdict(loadtest, collector, monkeypatch):  # noqa: F811
    collector.status = 403
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-api-key={KEY}")
    result = loadtest("heartbeat", URL, "--otlp", f"{collector.url}/v1/metrics?token={KEY}")
    assert result.code == 0
    count = len(collector.requests)
    assert f"otlp: {count} of {count} exports FAILED: " in result.err
    assert KEY not in result.out + result.err


def test_a_collector_that_is_not_there_does_not_hold_the_run_up(loadtest, monkeypatch):  # noqa: F811
    monkeypatch.setattr(loadotlp, "LAST_EXPORT_S", 0.1)
    result = loadtest("heartbeat", URL, "--otlp", f"http://127.0.0.1:9/?token={KEY}")
    assert result.code == 0
    assert " exports FAILED: " in result.err
    assert KEY not in result.out + result.err


@pytest.mark.parametrize(
    "url", ["collector:4318", "ftp://collector", "http://", "http://[::1", f"http://me:{KEY}@127.0.0.1:9"]
)
def test_what_is_no_url_is_refused_before_the_run(loadtest, url):  # noqa: F811
    result = loadtest("heartbeat", URL, "--otlp", url)
    assert result.code == 2
    assert "--otlp: " in result.err
    assert KEY not in result.err


def test_without_the_extra_the_option_is_refused_and_the_variable_noted(loadtest, collector, monkeypatch):  # noqa: F811
    monkeypatch.setattr(loadotlp, "_NEEDED", ("opentelemetry", "opentelemetry.sdk.nothing.of_the_kind"))
    refused = loadtest("heartbeat", URL, "--otlp", collector.url)
    assert refused.code == 2
    assert "[otlp]" in refused.err
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    noted = loadtest("heartbeat", URL)
    assert noted.code == 0
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set, but nothing is exported" in noted.err
    assert not collector.requests

"""The text of a scrape: what Prometheus' own library reads of it is what was counted, whatever stands in labels."""

from __future__ import annotations

import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from wsserver.operations.families import exposition, families_of, format_for
from wsserver.telemetry.counters import Histogram
from wsserver.telemetry.metrics import Metrics

ODD = ('a"b', "a\\b", "a\nb", "\\n", "a,b}", "ä\u2028\u202e", "")
OPEN = "application/openmetrics-text; version=x; escaping=y"


@pytest.fixture
def metrics():
    metrics = Metrics()
    for kind in ODD:
        metrics.sent[kind].add(10, 3)
        metrics.handler_time[kind] = Histogram()
        metrics.handler_time[kind].observe(0.3)
    metrics.read("wsctl_odd", "Odd numbers", "gauge", lambda: math.inf)
    metrics.read("wsctl_none", "No number", "gauge", lambda: math.nan)
    metrics.read("wsctl_large", "A large one", "gauge", lambda: 2**53 + 1)
    metrics.read("wsctl_small", "A small one", "gauge", lambda: 1.5e-9)
    return metrics


@pytest.mark.parametrize(("accept", "read"), [("", read_text), ("text/*", read_text), (OPEN, read_openmetrics)])
@pytest.mark.parametrize("workers", [[None], [0, 1]])
def test_what_is_read_is_what_was_counted(metrics, accept, read, workers):
    answers = {
        "" if number is None else str(number): list(families_of(metrics.collect(), number)) for number in workers
    }
    content_type = format_for(accept)
    text = exposition(answers, ["worker 2"] if len(workers) > 1 else [], content_type)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0" if accept == OPEN else "text/plain")
    families = list(read(text.decode()))
    assert len({family.name for family in families}) == len(families)
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }
    kinds = {family.name: (family.type, family.documentation) for family in families}
    for number in workers:
        own = {} if number is None else {"worker": str(number)}
        for sample in metrics.collect():
            value = found.pop((sample.name, *sorted({**own, **sample.labels}.items())))
            assert value == sample.value or (math.isnan(value) and math.isnan(sample.value))
            assert kinds[sample.family.removesuffix("_total")] == (sample.kind, sample.help)
    up = {"0": 1, "1": 1, "2": 0} if len(workers) > 1 else {}
    assert found == {("wsctl_worker_up", ("worker", number)): value for number, value in up.items()}

"""What all processes have counted, in the text format of Prometheus or of OpenMetrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from wsserver.telemetry.metrics import Sample

WORKER: Final = "worker"
OPENMETRICS: Final = "application/openmetrics-text"


class _Collected(Collector):
    """The samples of each worker, as the library's encoders want them: by name, and each name once."""

    def __init__(self, samples: Mapping[str, Iterable[Sample]], missing: Iterable[str]) -> None:
        self._samples = samples
        self._missing = missing

    def collect(self) -> Iterator[Metric]:
        metrics: dict[str, Metric] = {}
        for worker, samples in self._samples.items():
            own = {WORKER: worker} if worker else {}
            for sample in samples:
                metric = metrics.get(sample.family)
                if metric is None:
                    name = sample.family.removesuffix("_total") if sample.kind == "counter" else sample.family
                    metric = metrics[sample.family] = Metric(name, sample.help, sample.kind)
                metric.add_sample(sample.name, {**own, **sample.labels}, sample.value)
        yield from metrics.values()
        up = Metric("wsctl_worker_up", "Whether a worker answers: 1 or 0", "gauge")
        for worker in filter(None, self._samples):
            up.add_sample(up.name, {WORKER: worker}, 1)
        for name in self._missing:
            up.add_sample(up.name, {WORKER: name.removeprefix(f"{WORKER} ")}, 0)
        if up.samples:
            yield up


def exposition(samples: Mapping[str, Iterable[Sample]], missing: Iterable[str], accept: str) -> tuple[bytes, str]:
    """Return the text and its content type; `samples` are by the number of the worker, empty without workers.

    `missing` are the workers that did not answer.

    Of what a client accepts one word counts: the library fails at versions and escapes that it does not know.
    """
    encode, content_type = choose_encoder(f"{OPENMETRICS}; version=1.0.0" if OPENMETRICS in accept else "")
    return encode(_Collected(samples, missing)), content_type

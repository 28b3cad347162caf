"""One process, asked about itself and told to act; it never knows who asks, or by what way that comes."""

from __future__ import annotations

from collections.abc import Callable

from wsserver.operations.queries import Answer, Query, Readiness, ReadinessAnswer, Scrape, ScrapeAnswer
from wsserver.telemetry.metrics import Metrics


class Node:
    """Answers queries; `is_ready` says whether this process takes newcomers."""

    __slots__ = ("_is_ready", "_metrics")

    def __init__(self, metrics: Metrics, is_ready: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._is_ready = is_ready

    async def answer(self, query: Query) -> Answer:
        """Return the answer to a query."""
        match query:
            case Readiness():
                return ReadinessAnswer(self._is_ready())
            case Scrape():
                return ScrapeAnswer(list(self._metrics.collect()))

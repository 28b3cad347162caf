"""From samples to medians, ratios with spread, a table and JSON."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.contenders import BEFORE
from tests.bench.scenarios import Sample, Scenario

BUSY = 0.97  # of its core: beyond that the generator may be what limits
QUIET = 0.93  # of its core: below that, at full load, something else used it


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures, with the least and the largest."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Summarise at least one figure."""
        return cls(median(values), min(values), max(values))

    def as_json(self) -> dict[str, float]:
        """Return the three figures by name."""
        return {"median": self.median, "min": self.least, "max": self.most}


Samples = dict[str, list[Sample | None]]  # by server, in the order of the rounds; None is a run that failed


def spread(samples: Samples, server: str) -> Spread | None:
    """Return the spread of one server's figures; None if it has none."""
    values = [sample.value for sample in samples.get(server, []) if sample is not None]
    return Spread.of(values) if values else None


def ratio(samples: Samples, server: str, other: str) -> Spread | None:
    """Return the spread of one server's figures over another's, each pair from one round."""
    pairs = zip(samples.get(server, []), samples.get(other, []), strict=False)
    values = [a.value / b.value for a, b in pairs if a is not None and b is not None and b.value > 0]
    return Spread.of(values) if values else None


def judged(scenario: Scenario, samples: Samples) -> Samples:
    """Return what a scenario is judged by: of a rate what was done in a second of the server's processor time.

    Rates move by half with the machine's neighbours, processor time by a few percent.
    """
    if not scenario.is_rate:
        return samples

    def scaled(sample: Sample | None) -> Sample | None:
        share = sample.details.get("server_cpu") if sample is not None else None
        return Sample(sample.value / share, sample.details) if sample is not None and share else None

    return {server: [scaled(sample) for sample in taken] for server, taken in samples.items()}


def cost_us(samples: Samples, server: str) -> Spread | None:
    """Return the processor time of the server, user and system, for one message, in µs."""
    values = [
        sample.details["server_cpu"] / sample.value * 1e6
        for sample in samples.get(server, [])
        if sample is not None and sample.value > 0 and "server_cpu" in sample.details
    ]
    return Spread.of(values) if values else None


def verdict(scenario: Scenario, samples: Samples) -> bool | None:
    """Tell whether `wsctl` holds what the scenario promises; None if it promises nothing or was not measured."""
    results: list[bool] = []
    for other, floor in scenario.floors.items():
        against = ratio(judged(scenario, samples), "wsctl", other)
        if against is not None:
            results.append(against.median >= floor)
    own = spread(samples, "wsctl")
    if scenario.most is not None and own is not None:
        results.append(own.median <= scenario.most)
    return all(results) if results else None


def doubts(results: dict[Scenario, Samples]) -> list[str]:
    """Say what casts doubt: a generator that may be the limit, and rates of servers that others took the core from."""
    busy, starved = [], []
    for scenario, samples in results.items():
        for server, taken in samples.items():
            details = [sample.details for sample in taken if sample is not None and scenario.is_rate]
            if details and median(detail["generator_cpu"] for detail in details) > BUSY:
                busy.append(f"{server} in {scenario.name}")
            if details and (share := median(detail["server_cpu"] for detail in details)) < QUIET:
                starved.append(f"{server} in {scenario.name} ({share:.0%})")
    found = []
    if busy:
        found.append(f"the generator was fully busy, so it may be what limits: {', '.join(busy)}")
    if starved:
        found.append(
            f"servers had less than {QUIET:.0%} of their core, so their rates say little: {', '.join(starved)}"
        )
    return found


def table(results: dict[Scenario, Samples], names: list[str]) -> str:
    """Return a Markdown table: what a message costs each server, wsctl's ratios, and the promises."""
    others = _others(names)
    head = ["", *names, *(f"{other} / wsctl (min–max)" for other in others), "promise"]
    lines = [_row(head), _row(["---"] * len(head))]
    for scenario, samples in results.items():
        cells = [f"{scenario.title}, {'µs of processor time each' if scenario.is_rate else scenario.unit}"]
        figures = (cost_us(samples, name) if scenario.is_rate else spread(samples, name) for name in names)
        cells += [_number(found.median if found else None) for found in figures]
        cells += [_ratio(_gain(scenario, samples, other)) for other in others]
        cells.append(_promise(scenario, verdict(scenario, samples), _aims(scenario, samples)))
        lines.append(_row(cells))
    return "\n".join(lines)


def rates_table(results: dict[Scenario, Samples], names: list[str]) -> str:
    """Return the rates, which depend on what else the machine does."""
    others = _others(names)
    head = ["rates", *names, *(f"wsctl / {other} (min–max)" for other in others)]
    lines = [_row(head), _row(["---"] * len(head))]
    for scenario, samples in results.items():
        if scenario.is_rate:
            scale = 1000 if scenario.unit == "k/s" else 1
            found = [spread(samples, name) for name in names]
            cells = [f"{scenario.title}, {scenario.unit}"]
            cells += [_number(item.median / scale if item else None) for item in found]
            cells += [_ratio(ratio(samples, "wsctl", other)) for other in others]
            lines.append(_row(cells))
    return "\n".join(lines)


def _gain(scenario: Scenario, samples: Samples, other: str) -> Spread | None:
    """Return how many times as much the other needs; of what is no rate, how much more of it the other has."""
    if scenario.is_rate:
        return ratio(judged(scenario, samples), "wsctl", other)
    return ratio(samples, other, "wsctl")


def _aims(scenario: Scenario, samples: Samples) -> list[str]:
    words = []
    for other, aim in scenario.aims.items():
        against = ratio(judged(scenario, samples), "wsctl", other)
        reached = "" if against is None else ", reached" if against.median >= aim else ", not reached"
        words.append(f"aim {aim:g} × {other}{reached}")
    return words


def _others(names: list[str]) -> list[str]:
    return [name for name in (BEFORE, "node", "bun") if name in names and "wsctl" in names]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 1 else f"{value:.1f}"


def _ratio(figures: Spread | None) -> str:
    if figures is None:
        return "–"
    return f"{figures.median:.2f} ({figures.least:.2f}–{figures.most:.2f})"


def _promise(scenario: Scenario, held: bool | None, aims: list[str]) -> str:
    words = [f"≥ {floor:g} × {other}" for other, floor in scenario.floors.items()]
    if scenario.most is not None:
        words.append(f"≤ {scenario.most:g} {scenario.unit}")
    promise = ", ".join(words)
    if held is not None and words:
        promise += ": held" if held else ": **missed**"
    return "; ".join(filter(None, [promise, *aims]))


def machine() -> dict[str, Any]:
    """Describe the machine in general words, without names that tell one from another."""
    model = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else ""
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    return {
        "cores": os.cpu_count(),
        "cpu": model,
        "system": f"{platform.system()} {kernel}",
        "python": platform.python_version(),
    }


def as_json(results: dict[Scenario, Samples], settings: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was measured."""
    scenarios = []
    for scenario, samples in results.items():
        entry: dict[str, Any] = {
            "name": scenario.name,
            "title": scenario.title,
            "unit": scenario.unit.removeprefix("k"),
            "floors": scenario.floors,
            "aims": scenario.aims,
            "most": scenario.most,
            "held": verdict(scenario, samples),
            "servers": {},
            "ratios": {},
        }
        for server, taken in samples.items():
            found = spread(samples, server)
            entry["servers"][server] = {
                **(found.as_json() if found else {}),
                **({"cpu_us": cost.as_json()} if scenario.is_rate and (cost := cost_us(samples, server)) else {}),
                "samples": [None if sample is None else {"value": sample.value, **sample.details} for sample in taken],
            }
        for other in (BEFORE, "node", "bun"):
            if against := ratio(judged(scenario, samples), "wsctl", other):
                entry["ratios"][other] = against.as_json()
            if scenario.is_rate and (against := ratio(samples, "wsctl", other)):
                entry["ratios"][f"{other}, rates"] = against.as_json()
        scenarios.append(entry)
    return {"machine": machine(), "settings": settings, "scenarios": scenarios}

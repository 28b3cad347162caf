"""Line charts as inline SVG, readable without a script, in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from wscore.units import format_figure

WIDTH: Final = 640
HEIGHT: Final = 300
LEAST: Final = 1e-3  # on a logarithmic axis: a microsecond
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 16, 14, 52

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One series; `style` is a class of the page's style sheet (`a`, `b`, `c`)."""

    name: str
    points: Sequence[Point]
    style: str


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round values that cover a range."""
    span = (high - low) or 1.0
    step = 10 ** math.floor(math.log10(span / count))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= count)
    first = math.floor(low / step)
    return [round((first + number) * step, 10) for number in range(math.ceil(high / step) - first + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return values that cover a range of positive ones: powers of ten, 2 and 5 between a few."""
    low = max(low, LEAST)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(max(high, low * 1.01)))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    marks = [factor * 10.0**power for power in range(first, last) for factor in factors] + [10.0**last]
    start = max((place for place, mark in enumerate(marks) if mark <= low), default=0)
    end = next((place for place, mark in enumerate(marks) if mark >= high), len(marks) - 1)
    return marks[start : max(end, start + 1) + 1]


def _logarithm(value: float) -> float:
    return math.log10(max(value, LEAST))


def number(value: float) -> str:
    """Return an axis label."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{format_figure(value / size, 6)}{letter}"
    return format_figure(value, 6)


def chart(
    title: str,
    x_name: str,
    y_name: str,
    lines: Sequence[Series],
    *,
    x_ticks: Sequence[tuple[float, str]] = (),
    is_log: bool = False,
) -> str:
    """Return a figure with its legend; empty lines are left out.

    `x_ticks` replaces the usual labels, `is_log` gives each power of ten the same height.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    y_marks = log_ticks(min(ys), max(ys)) if is_log else ticks(0, max(ys) or 1)
    scale: Callable[[float], float] = _logarithm if is_log else float
    x_marks = list(x_ticks) or [(value, number(value)) for value in ticks(min(xs), max(xs))]
    x_low, x_high = min(xs), max(*xs, min(xs) + 1e-9)
    y_low, y_high = scale(y_marks[0]), scale(y_marks[-1])

    def place(x: float, y: float) -> str:
        up = (max(y_low, scale(y)) - y_low) / (y_high - y_low)
        across = _LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT)
        return f"{across:.1f},{HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM):.1f}"

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
    ]
    for value in y_marks:
        start, end = place(x_low, value), place(x_high, value)
        x, y = start.split(",")
        parts.append(f'<polyline class="grid" points="{start} {end}"/>')
        parts.append(f'<text class="y" x="{float(x) - 6:.1f}" y="{float(y) + 4:.1f}">{number(value)}</text>')
    for value, label in x_marks:
        if x_low <= value <= x_high:
            x = place(value, y_marks[0]).split(",")[0]
            parts.append(f'<text class="x" x="{x}" y="{HEIGHT - _BOTTOM + 20}">{escape(label)}</text>')
    parts.append(f'<text class="x" x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 6}">{escape(x_name)}</text>')
    parts.append(f'<text class="x" transform="translate(20 {HEIGHT / 2}) rotate(-90)">{escape(y_name)}</text>')
    for line in lines:
        points = " ".join(place(x, y) for x, y in line.points)
        parts.append(f'<polyline class="line {line.style}" points="{points}"/>')
    parts.append("</svg>")
    legend = " ".join(f'<span class="key {line.style}">{escape(line.name)}</span>' for line in lines)
    return f"<figure><figcaption>{escape(title)}</figcaption>{''.join(parts)}<p>{legend}</p></figure>"

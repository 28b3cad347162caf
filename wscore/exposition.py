"""Numbers as Prometheus reads them: the lines of its text format 0.0.4, which OpenMetrics 1.0 has too."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
END: Final = "# EOF\n"  # of OpenMetrics

_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def heading(name: str, help: str, kind: str) -> str:
    """Return the lines that stand above the numbers of a name; `help` is plain text of ours, on one line."""
    return f"# HELP {name} {help}\n# TYPE {name} {kind}\n"


def number_line(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    """Return the line of a number; the values of labels may be any text."""
    written = ",".join([f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels])
    return f"{name}{{{written}}} {_number(value)}\n" if written else f"{name} {_number(value)}\n"


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"

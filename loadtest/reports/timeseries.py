"""timeseries.csv: a row for each second."""

from __future__ import annotations

import csv
import io

from loadtest.summary import Summary
from loadtest.wire import Second


def csv_report(summary: Summary) -> str:
    """Return the table; a field without a value is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = Second.__struct_fields__
    writer.writerow(names)
    for second in summary.series:
        values = (getattr(second, name) for name in names)
        writer.writerow(["" if value is None else value for value in values])
    return out.getvalue()

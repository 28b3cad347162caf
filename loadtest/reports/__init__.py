"""The files of `--out`: one summary for machines, several ways to read it for people and CI."""

from __future__ import annotations

from pathlib import Path

from loadtest.reports.html import html_report
from loadtest.reports.junit import junit_report
from loadtest.reports.markdown import markdown_report
from loadtest.reports.timeseries import csv_report
from loadtest.summary import Summary, encode
from wscore.errors import ConfigError


def write_reports(summary: Summary, directory: Path) -> list[Path]:
    """Write every report into a directory and return their paths; raises ConfigError."""
    contents = {
        "summary.json": encode(summary),
        "summary.md": markdown_report(summary).encode(),
        "timeseries.csv": csv_report(summary).encode(),
        "junit.xml": junit_report(summary),
        "report.html": html_report(summary).encode(),
    }
    paths = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            path = directory / name
            path.write_bytes(content)
            paths.append(path)
    except OSError as error:
        raise ConfigError(str(directory), error.strerror or str(error)) from None
    return paths

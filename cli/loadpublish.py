"""Where the outcome of a load test goes beside the screen: the files of `--out`, GitHub's summary and annotations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cli.options.load import ReportOptions
from cli.output import note
from loadtest.summary import Summary, Verdict
from loadtest.verdicts import unmeasured
from loadtest.wire import Plan
from wscore.errors import WsctlError
from wscore.text import neutralise

STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"
_LEVELS: Final = {Verdict.PASSED: "notice", Verdict.FAILED: "error", Verdict.INVALID: "warning"}


def publish(summary: Summary, report: ReportOptions, name: str = "") -> None:
    """Write what the options ask for; `name` is the directory below that of `--out`."""
    if report.out is not None:
        from loadtest.reports import write_reports

        directory = report.out / name
        names = ", ".join(path.name for path in write_reports(summary, directory))
        note(f"written to {directory}: {names}")
    if report.github:
        _tell_github(summary)


@contextmanager
def publishing_failure(plan: Plan, report: ReportOptions, name: str = "") -> Iterator[None]:
    """Publish a run also if it ends with an error before anything was measured; the error goes on."""
    try:
        yield
    except WsctlError as error:
        publish(unmeasured(plan, str(error)), report, name)
        raise


def _tell_github(summary: Summary) -> None:
    """Add to the summary of the step, and print workflow commands, which GitHub reads on both outputs."""
    from loadtest.reports.markdown import markdown_report

    title = f"wsctl loadtest {summary.kind}: {summary.verdict}"
    for reason in summary.reasons or ("Every rule held.",):
        note(f"::{_LEVELS[summary.verdict]} title={_property(title)}::{_data(reason)}")
    path = os.environ.get(STEP_SUMMARY)
    if not path:
        note(f"no {STEP_SUMMARY}: the summary of the step is left out")
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown_report(summary) + "\n")
    except OSError as error:
        note(f"{STEP_SUMMARY}: {error.strerror}")


def _data(text: str) -> str:
    return neutralise(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

"""Writes what `docs/api.md` says of routes and types, as the OpenAPI document has it: `python -m tests.apipage`."""

from __future__ import annotations

from typing import Final

from tests.pages import ROOT
from wsserver.operations.port.openapi import document
from wsserver.operations.port.reference import Table, answers, routes
from wsserver.operations.problems import STATUS

PAGE: Final = ROOT / "docs" / "api.md"
BEGIN: Final = "## Routes\n"


def generated() -> str:
    """Return the part of the page that is made of the document."""
    shown = document()
    parts = [BEGIN]
    for route, summary, asked, answer in routes(shown):
        parts.append(f"### {route}\n\n{summary} Answer: [{answer}](#{answer.lower()})\n\n{_markdown(asked)}")
    parts.append("## Answers\n")
    for name, meaning, table in answers(shown):
        parts.append(f"### {name}\n\n{meaning}\n\n{_markdown(table)}")
    parts.append("## Errors\n\n| code | status |\n|---|---|")
    parts += [f"| `{code}` | {int(status)} |" for code, status in STATUS.items()]
    return "\n".join(parts) + "\n"


def _markdown(table: Table) -> str:
    rows = [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in table]
    return "\n".join(["| | | |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    PAGE.write_text(text[: text.index(BEGIN)] + generated(), "utf-8")

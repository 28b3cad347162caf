"""The pages hang together: tables, links, lists of contents and the list of decisions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import BLOCK, PAGES, ROOT

# Links in text and definitions below it, `[text](target)`; what stands in code is no link.
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|^(?: {4}).*?$|`[^`\n]*`", re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@each_page
def test_every_table_has_a_head_and_rows_of_one_width(path):
    text = BLOCK.sub("", path.read_text("utf-8"))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = table.splitlines()
        assert re.fullmatch(r"[|-]+", lines[1]), lines[0]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, lines[0]


@each_page
def test_every_relative_link_leads_somewhere(path):
    text = CODE.sub("", path.read_text("utf-8"))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = path if not file else (path.parent / file)
        assert linked.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in anchors(linked), f"{path.name}: {target}"


@each_page
def test_the_list_of_contents_of_a_page_has_every_section(path):
    top, *sections = re.split(r"^## (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
    if contents := re.findall(r"^- \[(.+)\]\(#", top, re.MULTILINE):
        assert contents == sections[::2]


def test_every_decision_has_its_row():
    rows = re.findall(r"\| \[(\d{4})\]\(([^)]+)\)", (ROOT / "docs/adr/README.md").read_text("utf-8"))
    assert rows == [(path.name[:4], path.name) for path in PAGES if re.match(r"\d{4}-", path.name)]


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_contributing_names_only_files_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    paths = re.findall(r"`((?:cli|docs|loadtest|tests|wsclient|wscore|wsserver)/[\w/.-]+)`", text)
    assert len(paths) > 50
    assert not [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]

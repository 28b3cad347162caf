"""The reports: complete, harmless, readable without a network."""

from __future__ import annotations

import csv
import itertools
import math
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hdrh.histogram import HdrHistogram

from loadtest import wire
from loadtest.reports import write_reports
from loadtest.wire import Generator, Histograms, Ledger
from wscore.errors import ConfigError

HANG_S = 60
NASTY = '</script><script src="http://evil.example/x"></script>\x1b[31m|`'


def histogram(*values_us: int) -> str:
    made = HdrHistogram(1, 60_000_000, 3)
    for value in values_us:
        made.record_value(value)
    return made.encode().decode()


@pytest.fixture
def summary():
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("verdicts", Path(__file__).with_name("test_verdicts.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.summary


@pytest.fixture
def written(summary, tmp_path) -> Path:
    made = summary(
        "delivery.p99<1us",
        "loss<=3%",
        errors={NASTY: 3},
        close_codes={"1006": 2},
        ledger=Ledger(published=10, expected=100, received=98, lost=2, duplicated=1, reordered=1),
        server_rss_kib=(1024, 2048),
    )
    names = [path.name for path in write_reports(made, tmp_path / "out")]
    assert names == ["summary.json", "summary.md", "timeseries.csv", "junit.xml", "report.html"]
    return tmp_path / "out"


def test_the_markdown_says_it_all_in_one_page(written):
    text = (written / "summary.md").read_text()
    for part in ("# broadcast load test: failed", "| `delivery.p99<1us` | 1.99 ms | **missed** |", "2 lost (2.0000%)"):
        assert part in text
    assert "\x1b" not in text
    assert "<script" not in text


def test_no_figure_for_people_is_a_power_of_ten(summary, tmp_path):
    slow = Histograms({wire.LATENCY: histogram(1_900_000, 12_345_678)})
    rules = ("delivery.p99<50ms", "delivery.p50<1s", "rate<=1", "loss<=0")
    made = summary(*rules, histograms=slow, sent=50_000_000, ledger=Ledger(expected=10**8, received=10**8 - 1, lost=1))
    written = {path.suffix: path.read_text() for path in write_reports(made, tmp_path)}
    for suffix in (".md", ".html", ".xml"):
        assert re.search(r"12,3\d\d ms", written[suffix])
        assert "5,000,000" in written[suffix]
        assert "0.000001 %" in written[suffix]
        assert not re.search(r"[0-9]e[+-][0-9]", written[suffix])
    assert re.search(r"1,90\d ms", written[".html"])


def test_the_csv_has_a_row_for_each_second(written):
    rows = list(csv.DictReader((written / "timeseries.csv").read_text().splitlines()))
    assert len(rows) == 12
    assert (rows[0]["phase"], rows[1]["p50_us"], rows[1]["server_rss_kib"]) == ("ramp", "1500.0", "")


def test_junit_has_a_case_for_each_threshold(written):
    suite = ElementTree.fromstring((written / "junit.xml").read_bytes())
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases == {"delivery.p99<1us": ["failure"], "loss<=3%": [], "run": []}


def test_an_invalid_run_is_an_error_in_junit(summary, tmp_path):
    write_reports(summary(generator=Generator(doubts=("no time left\x00",))), tmp_path)
    suite = ElementTree.fromstring((tmp_path / "junit.xml").read_bytes())
    assert (suite.get("errors"), suite.find("testcase/error").text) == ("1", "no time left\ufffd")


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing_of_a_server(written):
    page = (written / "report.html").read_text()
    assert not re.findall(r"<(?:script|img|link|iframe|object)|url\(|@import", page)
    for part in ("Latency by percentile", "Latency over time", "Connections", "Rate", "prefers-color-scheme: dark"):
        assert part in page
    assert page.count("<svg") == page.count("<title>") - 1 >= 4


def test_the_spectrum_gives_each_power_of_ten_the_same_height(written):
    page = (written / "report.html").read_text()
    svg = page[page.index('aria-label="Latency by percentile"') :]
    svg = svg[: svg.index("</svg>")]
    marks = [(float(value), float(y)) for y, value in re.findall(r'class="y" x="[^"]+" y="([^"]+)">([\d.]+)<', svg)]
    assert len(marks) > 2
    heights = [(math.log10(high / low), below - above) for (low, below), (high, above) in itertools.pairwise(marks)]
    shares = [height / powers for powers, height in heights]
    assert max(shares) - min(shares) < 1


def test_the_page_opens_in_a_browser_and_fits_a_phone(written):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed")
    probe = (
        "<script>document.title = [document.body.scrollWidth <= innerWidth, document.querySelectorAll('svg').length]"
    )
    page = written / "probe.html"
    page.write_text((written / "report.html").read_text().replace("</body>", f"{probe}</script></body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=HANG_S, check=True)
    assert "<title>true,5</title>" in done.stdout


def test_a_directory_that_cannot_be_written_is_named(summary, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        write_reports(summary(), tmp_path / "file" / "out")

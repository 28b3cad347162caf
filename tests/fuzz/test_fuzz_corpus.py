"""The fuzz targets on what the corpus keeps, for a moment on something new, and on a bug that was put there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
HANG_S = 120


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_once_holds(path):
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_a_corpus_that_stays_small():
    assert {path.parent.name for path in FILES} == set(TARGETS)
    assert len(FILES) < 400
    assert max(path.stat().st_size for path in FILES) <= 1024
    assert not [path for path in FILES if path.name.startswith("crash-")]


@pytest.mark.parametrize("name", TARGETS)
def test_a_moment_of_something_new(name):
    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")))
    def try_it(data):
        TARGETS[name](data)

    try_it()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--seed", "1"], id="mutation"),
        pytest.param([], id="atheris", marks=pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris")),
    ],
)
def test_a_bug_is_found_and_its_reproducer_named(tmp_path, options):
    (tmp_path / "planted.py").write_text('def bug(data):\n    assert b"{{" not in data, "planted"\n')
    command = [sys.executable, "-m", "tests.fuzz.run", "--target", "planted:bug", "--seconds", "20", *options]
    done = subprocess.run(
        [*command, "--corpus", str(tmp_path / "corpus")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "AssertionError: planted" in done.stdout
    (crash,) = (tmp_path / "corpus" / "bug").glob("crash-*")
    assert b"{{" in crash.read_bytes()
    assert str(crash) in done.stdout

"""The pictures of the docs: each is shown, asks no other host for anything, and shows what `wsctl` shows today."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.images.draw import IMAGES, PICTURES
from tests.pages import PAGES, ROOT

HANG_S = 180
VARYING = re.compile(r"\S*(?:\d|epoch|&quot;[\w-]{12}&quot;)\S*")  # times, sizes and names that are new each time


def words(svg: str) -> list[str]:
    """Return what a picture says, but for what is another each time."""
    texts = [text.replace("&#160;", " ") for text in re.findall(r"<text[^>]*>(.*?)</text>", svg)]
    return [word for text in texts for word in VARYING.sub("", text).split()]


def test_each_picture_is_drawn_by_the_command_and_shown_on_a_page():
    assert {path.name for path in IMAGES.iterdir()} == {f"{name}.svg" for name in PICTURES}
    shown = "".join(page.read_text("utf-8") for page in PAGES)
    assert [name for name in PICTURES if f"images/{name}.svg)" not in shown] == []


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_asks_no_other_host_for_anything(name):
    kept = (IMAGES / f"{name}.svg").read_text("utf-8")
    assert re.findall(r"url\((?!#)|href|@import|@font-face", kept) == []


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
@pytest.mark.skipif(not all(map(shutil.which, ("tmux", "jq", "ip"))), reason="tmux, jq or ip is not installed")
def test_the_pictures_are_those_of_today(tmp_path):
    """In a network of its own, where the server's default port is free."""
    draw = f"ip link set lo up && exec '{sys.executable}' -m tests.images.draw '{tmp_path}'"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", draw], cwd=ROOT, capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in PICTURES:
        drawn, kept = ((folder / f"{name}.svg").read_text("utf-8") for folder in (tmp_path, IMAGES))
        assert words(drawn) == words(kept), "make images draws it anew; look at it before you keep it"

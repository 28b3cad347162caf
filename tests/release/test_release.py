"""Manual pages and completion scripts are what the commands say today, and a wheel without them is no release."""

from __future__ import annotations

import shutil
import subprocess
import zipfile

import pytest

from cli.main import COMMANDS
from tests.release.check import ReleaseError, check_contents, main
from tests.release.manpages import COMPLETION, MAN, pages, scripts


def test_the_pages_and_scripts_are_those_of_the_commands():
    kept = {path.name: path.read_text("utf-8") for folder in (MAN, COMPLETION) for path in folder.iterdir()}
    stale = sorted(name for name, text in {**pages(), **scripts()}.items() if kept.pop(name, None) != text)
    assert (stale, sorted(kept)) == ([], []), "make man writes them anew"


def test_each_command_has_a_page():
    assert {f"wsctl-{name}.1" for name in COMMANDS} < set(pages())


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff, which man shows pages with, is not installed")
def test_the_pages_are_right_for_man():
    command = ["groff", "-man", "-ww", "-z", *map(str, sorted(MAN.iterdir()))]
    told = subprocess.run(command, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")
    shown = subprocess.run(
        ["groff", "-man", "-Tutf8", "-P-cbou", str(MAN / "wsctl-serve.1")], capture_output=True, text=True
    ).stdout.split()
    assert "--port" in shown
    assert {"98", "invalid"} <= set(shown)


def test_a_wheel_that_lacks_a_page_is_no_release(tmp_path):
    wheel = tmp_path / "wsctl.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("cli/py.typed", "")
    with pytest.raises(ReleaseError, match=r"lacks .*wsserver/py\.typed.*man1/wsctl\.1"):
        check_contents(wheel)


@pytest.mark.slow
def test_this_tree_could_be_released(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "dist")]) == 0
    assert "good: wsctl_toolkit" in capsys.readouterr().out
    assert sorted((tmp_path / "dist").glob("sbom-*.cdx.json"))

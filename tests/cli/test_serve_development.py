"""What helps those who write an app: a factory, settings of its own, and a server that starts again on change."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.cli.conftest import ROOT, serving_in
from wscore.guest import mint_guest_token

HANG_S = 60
FACTORY = """
from wsserver import App, Context

def create_app() -> App:
    app = App()

    @app.on("version")
    def version(ctx: Context) -> None:
        ctx.reply("version", VERSION)

    return app

VERSION = 1
number = 7

def nothing():
    return None

def fails():
    return 1 / 0

def needs(what):
    return App()
"""
SETTINGS = """
from dataclasses import dataclass, field
from wsserver import App, Context, Secret

@dataclass
class Own:
    database: str
    limit: int = 5
    people: list[str] = field(default_factory=list)
    api_key: Secret | None = None
    mode: str = "open"

app = App(settings=Own)

@app.on("own")
def own(ctx: Context) -> None:
    own = ctx.resource(Own)
    key = None if own.api_key is None else own.api_key.reveal()
    ctx.reply("own", [own.database, own.limit, own.people, key])
"""


def ask(url: str, type: str) -> object:
    """Ask a server that may be starting; returns the data of its reply."""
    deadline = time.monotonic() + HANG_S
    while True:
        try:
            with connect(
                f"{url}?token={mint_guest_token(uuid.uuid4(), time.time_ns() // 1_000_000)}", proxy=None
            ) as ws:
                ws.recv(HANG_S)
                ws.send(json.dumps({"type": type, "timestamp": 1, "id": "1"}))
                return json.loads(ws.recv(HANG_S))["data"]
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_function_that_returns_an_app_is_called(tmp_path):
    (tmp_path / "shop.py").write_text(FACTORY)
    with serving_in(tmp_path) as serve:
        assert ask(serve("shop:create_app").url, "version") == 1


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing", "shop:nothing() returns no App but NoneType; let it return an App"),
        ("fails", "ZeroDivisionError: division by zero"),
        ("needs", "shop:needs is not an App"),
        ("number", "shop:number is not an App"),
        ("missing", "shop has no 'missing'"),
    ],
)
def test_what_returns_no_app_ends_the_command_with_a_line(wsctl, tmp_path, name, problem):
    (tmp_path / "shop.py").write_text(FACTORY)
    result = wsctl("serve", f"shop:{name}")
    assert (result.returncode, result.stdout) == (2, "")
    assert problem in result.stderr
    assert "Traceback" not in result.stderr


def test_a_mistake_in_the_language_is_told_once_with_its_place(wsctl, tmp_path):
    (tmp_path / "shop.py").write_text("app = App(\n")
    result = wsctl("serve", "shop:app")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"wsctl: APP: SyntaxError: '(' was never closed ({tmp_path / 'shop.py'}, line 1)\n"


def test_an_app_gets_its_settings_from_the_environment_the_file_and_its_defaults(tmp_path):
    (tmp_path / "shop.py").write_text(SETTINGS)
    (tmp_path / "key").write_text("k-123\n")
    (tmp_path / "wsctl.toml").write_text('[app]\ndatabase = "a.db"\nlimit = 9\npeople = ["x"]\napi-key-file = "key"\n')
    with serving_in(tmp_path) as serve:
        assert ask(serve("shop:app").url, "own") == ["a.db", 9, ["x"], "k-123"]
        variables = {"WSCTL_APP_LIMIT": "3", "WSCTL_APP_PEOPLE": '["y", "z"]', "WSCTL_APP_API_KEY": "k-9"}
        assert ask(serve("shop:app", **variables).url, "own") == ["a.db", 3, ["y", "z"], "k-9"]
        (tmp_path / "wsctl.toml").unlink()
        assert ask(serve("shop:app", WSCTL_APP_DATABASE="b.db").url, "own") == ["b.db", 5, [], None]


@pytest.mark.parametrize(
    ("table", "variables", "problem"),
    [
        ("", {}, "wsctl.toml: [app] database: is needed by the app; set it there, or as WSCTL_APP_DATABASE"),
        ('database = "a"\nlimit = "nine-secret"', {}, "wsctl.toml: [app] limit: does not fit int"),
        ('database = "a"', {"WSCTL_APP_LIMIT": "nine-secret"}, "WSCTL_APP_LIMIT: does not fit int"),
        ('database = "a"', {"WSCTL_APP_PEOPLE": '["nine-secret"'}, "WSCTL_APP_PEOPLE: is no JSON"),
        ('databse = "a"', {}, "[app] databse: the app has no such setting; did you mean database?"),
        ('database = "a"', {"WSCTL_APP_LIMITS": "1"}, "WSCTL_APP_LIMITS: the app has no such setting"),
        ('database = "a"', {"WSCTL_APP_API_KEY_FILE": "nowhere"}, "WSCTL_APP_API_KEY_FILE: nowhere: No such file"),
        ('database = "a"\napi-key = 7', {}, "[app] api-key: does not fit"),
    ],
)
def test_a_setting_that_is_wrong_ends_the_command_with_its_place_and_without_its_value(
    wsctl, tmp_path, table, variables, problem
):
    (tmp_path / "shop.py").write_text(SETTINGS)
    (tmp_path / "wsctl.toml").write_text(f"[app]\n{table}\n")
    result = wsctl("serve", "shop:app", "--port", "0", **variables)
    assert result.returncode == 2
    assert problem in " ".join(result.stderr.split())
    assert "nine-secret" not in result.stderr


def test_an_app_without_settings_says_so_of_a_table_that_nobody_reads(wsctl, tmp_path):
    (tmp_path / "wsctl.toml").write_text('[app]\ndatabase = "a"\n')
    result = wsctl("serve", "--port", "0")
    assert result.returncode == 2
    assert "[app] database: the app has no such setting" in result.stderr


def until(process, text: str, seen: list[str]) -> str:
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError(f"no {text!r} in {''.join(seen)}")


def test_the_start_up_shows_the_settings_but_no_secret(start_wsctl, tmp_path):
    (tmp_path / "shop.py").write_text(SETTINGS)
    process = start_wsctl("serve", "shop:app", "--port", "0", WSCTL_APP_DATABASE="a.db", WSCTL_APP_API_KEY="k-secret")
    seen: list[str] = []
    line = until(process, "app: ", seen)
    assert "database a.db, limit 5, people [], api-key ***, mode open" in line
    until(process, "Ctrl-C", seen)
    process.send_signal(signal.SIGTERM)
    seen += process.stderr.readlines()
    assert "k-secret" not in "".join(seen)


def replace(path: Path, text: str) -> None:
    """Write a file in one go, as editors do."""
    other = path.with_suffix(".new")
    other.write_text(text)
    os.replace(other, path)


def test_it_starts_again_on_change_on_the_same_port_and_waits_for_an_app_that_loads(start_wsctl, tmp_path):
    source = tmp_path / "shop.py"
    source.write_text(FACTORY)
    process = start_wsctl("serve", "shop:create_app", "--port", "0", "--reload", "--log-format", "json")
    seen: list[str] = []
    url = json.loads(until(process, "server.listening", seen))["url"]
    assert ask(url, "version") == 1
    replace(source, FACTORY.replace("VERSION = 1", "VERSION = 2"))
    until(process, "shop.py changed", seen)
    assert json.loads(until(process, "server.listening", seen))["url"] == url
    assert ask(url, "version") == 2
    replace(source, "def create_app(:")
    until(process, "SyntaxError", seen)
    until(process, "started again after the next change", seen)
    assert process.poll() is None
    replace(source, FACTORY.replace("VERSION = 1", "VERSION = 3"))
    assert json.loads(until(process, "server.listening", seen))["url"] == url
    assert ask(url, "version") == 3
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.readlines()
    assert process.wait(HANG_S) == 0
    assert any("server.stopped" in line for line in rest)
    assert not any("Traceback" in line for line in (*seen, *rest))


def test_it_starts_again_when_a_setting_of_the_app_changes(start_wsctl, tmp_path):
    (tmp_path / "shop.py").write_text(SETTINGS)
    (tmp_path / "wsctl.toml").write_text('[app]\ndatabase = "a.db"\n')
    process = start_wsctl("serve", "shop:app", "--port", "0", "--reload", "--log-format", "json")
    seen: list[str] = []
    url = json.loads(until(process, "server.listening", seen))["url"]
    assert ask(url, "own") == ["a.db", 5, [], None]
    replace(tmp_path / "wsctl.toml", '[app]\ndatabase = "b.db"\nlimit = "many"\n')
    until(process, "[app] limit: does not fit int", seen)
    replace(tmp_path / "wsctl.toml", '[app]\ndatabase = "b.db"\nlimit = 6\n')
    assert json.loads(until(process, "server.listening", seen))["url"] == url
    assert ask(url, "own") == ["b.db", 6, [], None]
    process.send_signal(signal.SIGTERM)
    process.stderr.readlines()
    assert process.wait(HANG_S) == 0


def test_without_watchfiles_it_says_what_to_install(wsctl, tmp_path):
    (tmp_path / "watchfiles.py").write_text("raise ImportError")
    result = wsctl("serve", "--reload", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert result.returncode == 2
    assert "--reload: needs the package watchfiles; pip install watchfiles" in result.stderr

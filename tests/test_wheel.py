"""The wheel as others get it: what is in it, and that `mypy --strict` is content with apps that are built on it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.pages import ROOT, blocks
from tests.release.check import check_contents

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
HANG_S = 300
TOLD = re.compile(r"(\w+)\.py:(\d+): (\w+): (.*)")
PAGES = [ROOT / "README.md", ROOT / "docs" / "apps.md", ROOT / "docs" / "loadtest.md"]
EXAMPLES = {
    f"example_{path.stem.lower()}_{number}": block
    for path in PAGES
    for number, block in enumerate(blocks(path, "python"))
}
EXAMPLES["chat"] = EXAMPLES["example_apps_0"]  # as its own tests there import it

# Each way to register keeps the type of what it registers.
KEPT_TYPES = {
    "say": "def (ctx: wsserver.Context[Any], msg: kept.Say) -> typing.Coroutine[Any, Any, None]",
    "peek": "def (ctx: wsserver.Context[Any]) -> int",
    "joined": "def (ctx: wsserver.Context[Any]) -> typing.Coroutine[Any, Any, None]",
    "left": "def (ctx: wsserver.Context[Any])",
    "clock": "def (hub: wsserver.Hub) -> typing.AsyncIterator[None]",
    "room": "kept.Room",
}
KEPT = """
from collections.abc import AsyncIterator

import msgspec
from wsserver import App, Context, Hub

app = App()


class Say(msgspec.Struct):
    text: str


class Room:
    def __call__(self, ctx: Context, data: Say) -> None: ...


@app.on("say", outlives_client=True)
async def say(ctx: Context, msg: Say) -> None: ...


@app.on("peek")
def peek(ctx: Context) -> int:
    return 1


@app.on_connect
async def joined(ctx: Context) -> None: ...


@app.on_disconnect
def left(ctx: Context) -> None: ...


@app.lifespan
async def clock(hub: Hub) -> AsyncIterator[None]:
    yield


room = app.on("room")(Room())
app.on("hello")(lambda ctx: ctx.reply("hello"))
"""

# Lines that end in "wrong" are mistakes, which mypy is to find.
WRONG = """
from typing import Any

from wsserver import App, Context, ErrorCode, Hub, ServerSettings

app = App()


def nothing() -> None: ...
def text(ctx: str) -> None: ...
def three(ctx: Context, data: Any, more: Any) -> None: ...
def keyword(ctx: Context, *, data: Any) -> None: ...
def two(ctx: Context, data: Any) -> None: ...
async def runs(hub: Hub) -> None: ...
async def of_nobody() -> None: ...
def answers(ctx: Context) -> None:
    ctx.error("FORBIDDEN", "no")  # wrong
    ctx.error(ErrorCode.FORBIDDEN, "no")
    ctx.replay("x")  # wrong


app.on("a")(nothing)  # wrong
app.on("b")(text)  # wrong
app.on("c")(three)  # wrong
app.on("d")(keyword)  # wrong
app.on("e")("say")  # wrong
app.on("f")(two)
app.on(3)  # wrong
app.on_connect(two)  # wrong
app.on_disconnect(nothing)  # wrong
app.on_connect(answers)
app.lifespan(runs)  # wrong
app.lifespan(of_nobody)  # wrong
app.lifespan(answers)  # wrong
ServerSettings(engine="picows")  # wrong
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, as `pip install` does it: without anything but what pyproject.toml names."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=HANG_S)
    (built,) = folder.glob("*.whl")
    return built


def told_by_mypy(wheel: Path, folder: Path, modules: Mapping[str, str]) -> dict[str, list[tuple[int, str, str]]]:
    """Have `mypy --strict` check modules in an environment that has the wheel: by module, line, kind and message.

    There, other than below a MYPYPATH, packages need their `py.typed`; the sources of this project are out of reach.
    """
    paths = {
        name: Path(sysconfig.get_path(name, "venv", {"base": str(folder / "venv")})) for name in ("purelib", "scripts")
    }
    venv.create(folder / "venv")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(paths["purelib"])
    # Its dependencies are those of this environment, without what the .pth files there add: an editable installation.
    dependencies = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (paths["purelib"] / "dependencies.pth").write_text("\n".join(dependencies), "utf-8")
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code, "utf-8")
    options = ["--strict", "--config-file=", "--no-color-output", "--no-error-summary", "--cache-dir", os.devnull]
    command = [sys.executable, "-m", "mypy", *options, "--python-executable", str(paths["scripts"] / "python")]
    result = subprocess.run(
        [*command, *(f"{name}.py" for name in modules)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in ("MYPYPATH", "PYTHONPATH")},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert result.returncode in (0, 1), result.stdout + result.stderr
    told: dict[str, list[tuple[int, str, str]]] = {name: [] for name in modules}
    for line in result.stdout.splitlines():
        found = TOLD.fullmatch(line)
        assert found, line
        told[found[1]].append((int(found[2]), found[3], found[4]))
    return told


def test_the_wheel_has_the_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    sources = {
        str(path.relative_to(ROOT).as_posix()) for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    } | {f"{package}/py.typed" for package in PACKAGES}
    beside = {name.partition("/")[0] for name in names} - set(PACKAGES)
    metadata, shared = sorted(beside, key=lambda folder: folder.endswith(".data"))
    assert (Path(metadata).suffix, Path(shared).suffix) == (".dist-info", ".data")
    assert {name for name in names if not name.startswith((metadata, shared))} == sources
    assert f"{metadata}/licenses/LICENSE" in names
    check_contents(wheel)  # manual pages and completion scripts
    assert "wsctl = cli.main:main" in zipfile.ZipFile(wheel).read(f"{metadata}/entry_points.txt").decode()


@pytest.mark.slow
def test_mypy_is_content_with_the_examples_and_finds_what_cannot_be_registered(wheel, tmp_path):
    kept = KEPT + "".join(f"reveal_type({name})\n" for name in KEPT_TYPES)
    told = told_by_mypy(wheel, tmp_path, EXAMPLES | {"kept": kept, "wrong": WRONG})
    revealed, mistakes = told.pop("kept"), told.pop("wrong")
    assert told == {name: [] for name in EXAMPLES}
    # Wherever below wsserver a class may stand.
    shown = [re.sub(r"\bwsserver\.(?:\w+\.)+", "wsserver.", text) for _, _, text in revealed]
    assert shown == [f'Revealed type is "{kept}"' for kept in KEPT_TYPES.values()]
    marked = {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}
    assert {number for number, kind, _ in mistakes if kind == "error"} == marked

"""`make release-check`: what a release is, tried as others get it, with every Python of this machine.

Builds the wheel and the source archive, has twine and check-wheel-contents read them, installs the wheel into a fresh
environment of each Python from 3.11 on, serves and connects there, runs the quick tests against what was installed, and
writes the list of its parts (CycloneDX). Everything is left in a folder, dist unless another is named.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.pages import ROOT
from tests.pythons import pythons
from tests.release.manpages import COMPLETION, MAN

PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
# The quick tests: the shared core, and each command's way to its help and its errors. What reads sources stays here.
QUICK: Final = (
    "tests/wscore",
    "--ignore=tests/wscore/test_wav.py",
    "--ignore=tests/wscore/test_disconnects.py",
    "tests/cli/test_explain_and_help.py",
    "tests/cli/test_token_command.py",
)
BESIDE_TESTS: Final = ("tests", "docs", "examples", "pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
SERVING: Final = re.compile(r"ws://\S+")
HANG_S: Final = 60


class ReleaseError(Exception):
    """What keeps this from being a release."""


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command; raises ReleaseError, after what it printed, if it fails."""
    if subprocess.run([str(word) for word in command], cwd=cwd).returncode:
        raise ReleaseError(f"failed: {' '.join(Path(word).name for word in map(str, command[:4]))} ...")


def check_contents(wheel: Path) -> None:
    """Raise ReleaseError unless a wheel has every package, manual page and completion script."""
    names = zipfile.ZipFile(wheel).namelist()
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    wanted = [*(f"{package}/py.typed" for package in packages), *(f"man1/{page.name}" for page in MAN.iterdir())]
    wanted += ["bash-completion/completions/wsctl", "site-functions/_wsctl", "vendor_completions.d/wsctl.fish"]
    missing = [name for name in wanted if not any(found.endswith(name) for found in names)]
    if missing or not COMPLETION.is_dir():
        raise ReleaseError(f"the wheel lacks {', '.join(missing)}")


def smoke(wsctl: Path) -> None:
    """Serve, and have a client hear its own message, as the README begins; raises ReleaseError."""
    server = subprocess.Popen([wsctl, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        url = next((found[0] for line in server.stderr if (found := SERVING.search(line))), None)
        if url is None:
            raise ReleaseError("wsctl serve did not say where it listens")
        client = subprocess.run(
            [
                wsctl,
                "connect",
                url,
                "--send",
                '{"type":"message","data":"hi"}',
                "--expect",
                "message",
                "--timeout",
                "20s",
            ],
            capture_output=True,
            text=True,
            timeout=HANG_S,
        )
        if client.returncode or '"hi"' not in client.stdout:
            raise ReleaseError(f"the smoke of the README failed: {client.stdout}{client.stderr}")
    finally:
        server.terminate()
        server.communicate(timeout=HANG_S)
    if server.returncode:
        raise ReleaseError(f"wsctl serve ended with {server.returncode}")


def make_environment(python: str, folder: Path) -> None:
    """Make a fresh environment, whose pip knows groups."""
    run(python, "-m", "venv", folder)
    run(folder / "bin/python", "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")


def try_with(python: str, wheel: Path, environment: Path, tools: Path) -> None:
    """Install a wheel into a fresh environment of a Python, list its parts, and try it there, far from its sources."""
    binaries = environment / "bin"
    make_environment(python, environment)
    run(binaries / "python", "-m", "pip", "install", "--quiet", wheel)
    smoke(binaries / "wsctl")
    run(
        tools / "bin/cyclonedx-py",
        "environment",
        environment,
        "--output-file",
        wheel.parent / f"sbom-{environment.name}.cdx.json",
    )
    if not (environment / "share" / "man" / "man1" / "wsctl.1").is_file():
        raise ReleaseError("no manual page was installed")
    away = environment / "away"
    for name in BESIDE_TESTS:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        (away / name).parent.mkdir(parents=True, exist_ok=True)
        copy(source, away / name, **({"ignore": shutil.ignore_patterns("node_modules")} if source.is_dir() else {}))
    run(binaries / "python", "-m", "pip", "install", "--quiet", "--group", "dev", cwd=away)
    run(binaries / "python", "-m", "pytest", "-q", "-n", "auto", "-m", "not slow and not chaos", *QUICK, cwd=away)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if this could be released; whatever speaks against it is said."""
    parser = argparse.ArgumentParser(prog="make release-check", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for what is built")
    out = parser.parse_args(arguments).out
    shutil.rmtree(out, ignore_errors=True)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tools = folder / "tools"
        try:
            run(sys.executable, "-m", "hatchling", "build", "--directory", out)
            (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
            check_contents(wheel)
            make_environment(sys.executable, tools)
            run(
                tools / "bin/python", "-m", "pip", "install", "--quiet", "--group", f"{ROOT / 'pyproject.toml'}:release"
            )
            run(tools / "bin/python", "-m", "twine", "check", "--strict", wheel, sdist)
            run(tools / "bin/check-wheel-contents", "--toplevel", "cli,loadtest,wsclient,wscore,wsserver", wheel)
            tried = pythons()
            for version, python in tried.items():
                sys.stderr.write(f"trying it with Python {version}\n")
                try_with(python, wheel, folder / version, tools)
        except ReleaseError as error:
            sys.stderr.write(f"not a release: {error}\n")
            return 1
    sys.stdout.write(f"good: {wheel.name}, tried with Python {', '.join(tried)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

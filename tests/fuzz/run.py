"""Fuzzes the decoders: `python -m tests.fuzz.run --seconds 60`, with atheris where it is installed.

Without atheris it mutates the corpus by itself, guided by the lines of the project's code that an input reaches.
Inputs that reach something new are kept in `tests/fuzz/corpus`; one that breaks a target is kept as `crash-*`, named on
standard output, and ends the run with 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
# Only what is imported under its hook is instrumented, and only this project's code should be.
ATHERIS = """
import sys, atheris
name = sys.argv.pop(1)
with atheris.instrument_imports(include=["wscore", "wsserver", "wsclient", name.partition(":")[0]]):
    from tests.fuzz.run import find_target
    target = find_target(name)
atheris.Setup(sys.argv, target)
atheris.Fuzz()
"""
CORPUS = Path(__file__).parent / "corpus"
MAX_BYTES = 512
WORDS = [b'"', b"{", b"}", b"[", b"]", b"\\", b"\\ud800", b"\x00", b"\xff", b"1e999", b"guest_", b"eyJ", b".", b"null"]
WORDS += [
    b'"type":',
    b'"timestamp":',
    b'"data":',
    b"receivedAtMs",
    b"{{",
    b"}}",
    b"last.data",
    b"dir:",
    b"/",
    b"?token=",
]


def mutated(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """Return a relative of `data`."""
    result = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randint(0, len(result))
        match dice.randint(0, 5):
            case 0 if result:
                result[place % len(result)] ^= 1 << dice.randint(0, 7)
            case 1:
                del result[place : place + dice.randint(1, 8)]
            case 2:
                result[place:place] = dice.choice(WORDS)
            case 3:
                result[place:place] = result[place : place + dice.randint(1, 32)]
            case 4:
                start = dice.randint(0, len(other))
                result[place:] = other[start:]
            case _:
                result[place:place] = dice.randbytes(dice.randint(1, 4))
    return bytes(result[:MAX_BYTES])


class Coverage:
    """The (file, line) pairs of the project that a call reaches; raises what the call raises."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, int]] = set()
        self._new = False

    def reaches_something_new(self, target: Callable[[bytes], None], data: bytes) -> bool:
        self._new = False
        sys.settrace(self._on_call)
        try:
            target(data)
        finally:
            sys.settrace(None)
        return self._new

    def _on_call(self, frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        return self._on_line if "/wscore/" in path or "/wsserver/" in path or "/wsclient/" in path else None

    def _on_line(self, frame: FrameType, event: str, argument: Any) -> Any:
        place = (frame.f_code.co_filename, frame.f_lineno)
        if place not in self.seen:
            self.seen.add(place)
            self._new = True
        return self._on_line


def seeds(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*")) if path.is_file()] or [b""]


def keep(folder: Path, data: bytes, prefix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{prefix}{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path


def fuzz(name: str, target: Callable[[bytes], None], seconds: float, corpus: Path, seed: int) -> Path | None:
    """Try inputs for a while; returns the path of one that breaks the target."""
    folder = corpus / name
    known, coverage, dice = seeds(folder), Coverage(), random.Random(seed)
    deadline, tries, kept = time.monotonic() + seconds, 0, 0
    queue = list(known)
    while queue or time.monotonic() < deadline:
        data = queue.pop() if queue else mutated(dice.choice(known), dice.choice(known), dice)
        tries += 1
        try:
            is_new = coverage.reaches_something_new(target, data)
        except Exception as error:
            return _report(name, error, keep(folder, data, "crash-"))
        if is_new and data not in known:
            known.append(data)
            keep(folder, data)
            kept += 1
    sys.stdout.write(f"{name}: {tries} inputs, {len(coverage.seen)} lines reached, {kept} kept; nothing broke\n")
    return None


def fuzz_with_atheris(name: str, seconds: float, corpus: Path) -> Path | None:
    """Let atheris try, in a process of its own, which it takes over; what it found and reaches new lines is kept."""
    target, folder = find_target(name), corpus / name.rpartition(":")[2]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as found:
        options = [f"-max_total_time={max(1, round(seconds))}", f"-max_len={MAX_BYTES}", "-verbosity=0"]
        options += [f"-artifact_prefix={folder}/", found, str(folder)]
        done = subprocess.run(
            [sys.executable, "-c", ATHERIS, name, *options], cwd=ROOT, capture_output=True, text=True, check=False
        )
        kept = _keep_new(target, folder, seeds(Path(found)))
    crashes = sorted(folder.glob("crash-*"))
    if done.returncode and crashes:
        try:
            target(crashes[-1].read_bytes())
        except Exception as error:
            return _report(name, error, crashes[-1])
    if done.returncode:
        sys.stdout.write(f"{done.stderr}{name}: atheris ended with {done.returncode}\n")
        return folder
    sys.stdout.write(f"{name}: {kept} kept; nothing broke (atheris)\n")
    return None


def _report(name: str, error: Exception, reproducer: Path) -> Path:
    sys.stdout.write(f"{name}: {type(error).__name__}: {error}\n  reproducer: {reproducer}\n")
    return reproducer


def _keep_new(target: Callable[[bytes], None], folder: Path, found: list[bytes]) -> int:
    coverage, kept = Coverage(), 0
    for data in seeds(folder):
        with suppress(Exception):  # the one that broke the target
            coverage.reaches_something_new(target, data)
    for data in sorted(found, key=len):
        if coverage.reaches_something_new(target, data):
            keep(folder, data)
            kept += 1
    return kept


def find_target(name: str) -> Callable[[bytes], None]:
    """Return a target by its name, or any function as module:function."""
    module, separator, function = name.partition(":")
    if separator:
        found: Callable[[bytes], None] = getattr(importlib.import_module(module), function)
        return found
    return TARGETS[name]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="time in all (default: 60)")
    parser.add_argument("--target", action="append", help=f"of {', '.join(TARGETS)}; or module:function (repeatable)")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="folder of the inputs (default: tests/fuzz/corpus)")
    parser.add_argument("--seed", type=int, help="for the same run again: mutations from this seed, no atheris")
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    atheris = options.seed is None and find_spec("atheris") is not None
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    each_s = options.seconds / len(names)
    broken = []
    for name in names:
        if atheris:
            broken.append(fuzz_with_atheris(name, each_s, options.corpus))
        else:
            broken.append(fuzz(name.rpartition(":")[2], find_target(name), each_s, options.corpus, seed))
    return 1 if any(broken) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Builds the C load generator on demand and runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.pinning import pinned

HERE = Path(__file__).parent
SOURCE = HERE / "generator.c"
BUILD = HERE / ".build"
OPEN_S = 60  # in which all connections must open
SPARE_S = 30


class BenchError(Exception):
    """A measurement that cannot be made; the text says why."""


def compiler() -> str | None:
    """Return the C compiler, or None."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path = BUILD) -> Path:
    """Compile the generator unless that was done since it last changed; raises BenchError."""
    program = folder / "generator"
    if program.exists() and program.stat().st_mtime >= SOURCE.stat().st_mtime:
        return program
    cc = compiler()
    if cc is None:
        raise BenchError("there is no C compiler (cc): install gcc or clang")
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"generator.{os.getpid()}"
    result = subprocess.run(
        [cc, "-O2", "-std=c11", "-Wall", "-Wextra", "-o", fresh, SOURCE], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise BenchError(f"cc failed: {result.stderr.strip()}")
    fresh.replace(program)
    return program


@dataclass(frozen=True, slots=True)
class Generator:
    """The program, and the core it runs on (None: any)."""

    program: Path
    core: int | None = None

    def run(self, mode: str, *, port: int, tokens: Path, seconds: float, **options: object) -> dict[str, Any]:
        """Run one measurement to its end and return its figures; raises BenchError."""
        options = {"timeout": OPEN_S, **options}
        command = self._command(mode, port=port, tokens=tokens, seconds=seconds, **options)
        with pinned(self.core):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(timeout=OPEN_S + seconds + float(str(options.get("warmup", 1))) + SPARE_S)
        except subprocess.TimeoutExpired:
            raise BenchError("the generator did not come to an end") from None
        finally:
            _end(process)
        if process.returncode:
            raise BenchError(err.strip() or f"the generator ended with {process.returncode}")
        figures: dict[str, Any] = json.loads(out)
        return figures

    @contextmanager
    def holding(self, conns: int, *, port: int, tokens: Path) -> Iterator[None]:
        """Hold idle connections open; raises BenchError when they do not open."""
        command = self._command("idle", port=port, tokens=tokens, conns=conns, timeout=OPEN_S)
        with pinned(self.core):
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            # Bounded: the generator gives up by itself after OPEN_S.
            if not process.stdout.readline():
                raise BenchError(process.stderr.read().strip() or "the connections did not open")
            yield
        finally:
            process.stdin.close()
            _end(process, SPARE_S)
            process.stdout.close()
            process.stderr.close()

    def _command(self, mode: str, **options: object) -> list[str]:
        command = [str(self.program), mode]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        return command


def _end(process: subprocess.Popen[str], timeout_s: float = 0) -> None:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

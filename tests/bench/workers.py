"""`make bench-workers`: what two workers on a Redis need, beside one process under the same open load.

    .venv/bin/python -m tests.bench.workers --repeat 5

Messages come at a fixed rate whatever the server does, and each has to reach all of its session: one that does not is a
failure. What is judged is processor time, round by round, with as many connections on one worker as on the other.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench import constants, generator
from tests.bench.generator import BenchError, Generator
from tests.bench.openload import MEMORY, ONE, SETUPS, TWO, Measured, OpenLoad, measure
from tests.bench.report import Spread
from tests.bench.run import write_tokens
from wsserver.scaling import Load, simulate

PROMISED = 0.6  # the busiest of two workers, of what one on Redis needs
FULL = 0.85  # of a core: a worker that has less to spare gathers messages, and needs less for each
LOADS = (OpenLoad("10×1,000", 1, 10, 1000, 50), OpenLoad("100×100", 1, 100, 100, 500))


def ratio(samples: dict[str, list[Measured]], of: str, to: str) -> Spread:
    """Return what the busiest worker of one setup needs, of what that of another does, round by round."""
    return Spread.of([a.busiest / b.busiest for a, b in zip(samples[of], samples[to], strict=True)])


def report(load: OpenLoad, samples: dict[str, list[Measured]], cells: Callable[[list[str]], str]) -> str:
    """Return a row of the table."""
    two = samples[TWO]
    against = {name: ratio(samples, TWO, name) for name in (ONE, MEMORY)}
    held = "held" if against[ONE].median <= PROMISED else "**missed**"
    assert load.rate is not None
    need = simulate(Load(load.sessions, load.members, load.rate / load.sessions, workers=2))
    return cells(
        [
            load.title,
            *(f"{median(taken.busiest for taken in samples[name]):.1%}" for name in SETUPS),
            f"{median(taken.redis for taken in two):.1%}",
            f"{median(taken.spread for taken in two):.0%}",
            *(f"{found.median:.2f} ({found.least:.2f}–{found.most:.2f})" for found in against.values()),
            f"{need.worker_alone:.1%}, {need.broker:.1%}",
            f"≤ {PROMISED:g} of one on Redis: {held}",
        ]
    )


def _cells(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"


def main() -> int:
    """Measure and print a table; returns the exit code: 1 if a run failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.workers", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=4, help="length of one run (default 4)")
    names = [load.name for load in LOADS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="loads")
    parser.add_argument("--rate", type=float, help="messages a second, instead of 50 and 500")
    parser.add_argument("--by-chance", action="store_true", help="leave connections where the kernel puts them")
    parser.add_argument("--constants", action="store_true", help="measure what python -m wsserver.scaling counts with")
    options = parser.parse_args()
    secret = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory() as folder:
        guests, _ = write_tokens(Path(folder), secret)
        try:
            run = partial(
                measure,
                Generator(generator.build()),
                tokens=guests,
                secret=secret,
                seconds=options.seconds,
                by_chance=options.by_chance,
            )
            if options.constants:
                sys.stdout.write(_constants(constants.measure(run, options.repeat)))
                return 0
            rows = []
            for load in LOADS:
                if load.name in options.only:
                    load = replace(load, rate=options.rate or load.rate)
                    rows.append(report(load, _samples(run, load, options.repeat), _cells))
        except BenchError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    head = ["shares of a core", *SETUPS, "its Redis", "connections on one", f"two / {ONE}", f"two / {MEMORY}"]
    head += ["calculated: each of two, Redis", "promise"]
    sys.stdout.write(_cells(head) + _cells(["---"] * len(head)) + "".join(rows))
    return 0


def _samples(run: Callable[[OpenLoad, str], Measured], load: OpenLoad, rounds: int) -> dict[str, list[Measured]]:
    samples: dict[str, list[Measured]] = {name: [] for name in SETUPS}
    for turn in range(rounds):
        for name in list(samples)[:: -1 if turn % 2 else 1]:  # there and back: a machine that drifts favours nobody
            found = run(load, name)
            samples[name].append(found)
            _say(load, turn, name, found)
    return samples


def _constants(found: dict[str, tuple[float, float]]) -> str:
    lines = [_cells(["constant", "measured", "in wsserver/scaling.py"]), _cells(["---"] * 3)]
    lines += [_cells([name, f"{measured:.2f}", f"{here:.2f}"]) for name, (measured, here) in found.items()]
    return "".join(lines)


def _say(load: OpenLoad, turn: int, name: str, found: Measured) -> None:
    shares = ", ".join(f"{share:.1%}" for share in found.workers)
    doubt = "" if found.busiest < FULL else "; it was full, so it gathered"
    parts = f"Redis {found.redis:.1%}, {found.spread:.0%} of the connections on one, p99 {found.p99_ms:.1f} ms"
    sys.stderr.write(f"{load.name} {turn + 1} {name}: {shares}; {parts}{doubt}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

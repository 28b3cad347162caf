"""`make bench`: wsctl beside Node's ws and Bun, the same protocol, one generator, interleaved runs."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
import uuid
from pathlib import Path

from tests.bench import contenders, generator, startup, voice
from tests.bench.generator import BenchError, Generator
from tests.bench.generators_compare import compare
from tests.bench.pinning import cores
from tests.bench.report import Samples, as_json, doubts, machine, rates_table, table
from tests.bench.scenarios import SCENARIOS, Bench, Sample, Scenario
from wscore.guest import mint_guest_token
from wscore.tokens import mint_jwt

TOKENS = 1000
GENERATORS = "generators"  # the load tester beside a plain Locust user
STARTUP = "startup"  # how long until something is to be seen
VOICE = "voice"  # how soon an answer begins, and that neighbours do not notice


def main() -> int:
    """Measure, print the table on standard output, and return the exit code: 1 if a run failed."""
    options = _options()
    names: list[str] = options.servers
    chosen = [scenario for scenario in SCENARIOS if scenario.name in options.only]
    server_core, generator_core = cores()
    if server_core is None:
        _say("one core only: server and generator share it, and the ratios say little")
    try:
        program = generator.build()
        if {"node", "bun"} & set(names):
            contenders.install()
        for name in names:
            contenders.command(name)
    except BenchError as error:
        _say(str(error))
        return 1
    secret = secrets.token_urlsafe(32)
    failures = 0
    results: dict[Scenario, Samples] = {}
    with tempfile.TemporaryDirectory() as folder:
        guests, jwts = write_tokens(Path(folder), secret)
        bench = Bench(Generator(program, generator_core), guests, jwts, options.seconds, options.warmup)
        for scenario in chosen:
            samples = results[scenario] = {name: [] for name in names}
            for turn in range(scenario.repeats or options.repeat):
                for name in names:
                    sample = _measure(scenario, name, bench, secret=secret, core=server_core, turn=turn)
                    samples[name].append(sample)
                    failures += sample is None
    if chosen:
        sys.stdout.write(table(results, names) + "\n")
    found = doubts(results)
    if any(scenario.is_rate for scenario in chosen):
        sys.stdout.write("\n" + rates_table(results, names) + "\n")
    for line in found:
        _say(f"doubtful: {line}")
    beside: dict[str, object] = {}
    for name, measure in (
        (GENERATORS, lambda: compare(options.seconds, options.repeat, _say)),
        (STARTUP, lambda: startup.measure(_say)),
        (VOICE, lambda: voice.measure(_say)),
    ):
        if name in options.only:
            try:
                text, beside[name] = measure()
                sys.stdout.write("\n" + text + "\n")
            except BenchError as error:
                _say(str(error))
                failures += 1
    if options.json is not None:
        settings = {"seconds": options.seconds, "warmup_s": options.warmup, "repeat": options.repeat, "doubts": found}
        options.json.write_text(json.dumps(as_json(results, settings) | beside, indent=1, ensure_ascii=False) + "\n")
    _say(", ".join(f"{key} {value}" for key, value in machine().items()))
    return 1 if failures else 0


def _measure(scenario: Scenario, name: str, bench: Bench, *, secret: str, core: int | None, turn: int) -> Sample | None:
    try:
        with contenders.running(name, secret=secret, heartbeat=scenario.heartbeat, core=core) as server:
            sample = scenario.run(bench, server)
    except BenchError as error:
        _say(f"{scenario.name} {turn + 1} {name}: {error}")
        return None
    shares = [f"{key.removesuffix('_cpu')} {sample.details[key]:.0%}" for key in sample.details if key.endswith("_cpu")]
    load = f"   (CPU: {', '.join(shares)})" if shares else ""
    _say(f"{scenario.name} {turn + 1} {name}: {sample.value:,.1f} {scenario.unit.removeprefix('k')}{load}")
    return sample


def write_tokens(folder: Path, secret: str) -> tuple[Path, Path]:
    """Write fresh guest tokens and JWTs to files: on a command line anyone could read them."""
    now_s = int(time.time())
    guests, jwts = folder / "guests", folder / "jwts"
    guests.write_text("".join(f"{mint_guest_token(uuid.uuid4(), now_s * 1000)}\n" for _ in range(TOKENS)))
    claims = ({"sub": f"user-{number}", "iat": now_s, "exp": now_s + 86_400} for number in range(TOKENS))
    jwts.write_text("".join(f"{mint_jwt(secret.encode(), claim)}\n" for claim in claims))
    return guests, jwts


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run", description=__doc__)
    scenarios = [*(scenario.name for scenario in SCENARIOS), GENERATORS, STARTUP, VOICE]
    parser.add_argument("--seconds", type=float, default=3, help="length of one run (default 3)")
    parser.add_argument("--warmup", type=float, default=1, help="seconds of load before it (default 1)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds over all servers (default 3)")
    parser.add_argument("--only", nargs="+", choices=scenarios, default=scenarios, help="scenarios")
    parser.add_argument(
        "--servers", nargs="+", choices=contenders.NAMES, default=list(contenders.DEFAULT_NAMES), help="servers"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

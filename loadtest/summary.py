"""The summary of a run, which is what summary.json holds (docs/loadtest.md)."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtest.histograms import Distribution
from loadtest.wire import Generator, HostClock, Ledger, Plan, ReceiverLedger, RecoveryLedger, Second, StepLedger
from wscore.errors import ConfigError

SCHEMA: Final = 1
# What makes two runs comparable: not where to and as whom, nor what names or watches the run.
_NOT_CONFIGURATION: Final = frozenset(
    (
        *("runId", "url", "protocol", "tokens", "headers", "serverPid", "ca", "insecure", "cert", "key"),
        *("webPort", "masterPort", "expectedWorkers", "workerOf"),
    )
)


class Verdict(StrEnum):
    """INVALID: the generator could not drive the load, so the figures say nothing."""

    PASSED = "passed"
    FAILED = "failed"
    INVALID = "invalid"


class Connections(msgspec.Struct, frozen=True, rename="camel"):
    """Connections of the whole run."""

    wanted: int
    peak: int
    opened: int
    failed: int
    lost: int
    resumed: int


class Check(msgspec.Struct, frozen=True, rename="camel"):
    """How a rule fared. `actual` and `limit` are in `unit`: us, a ratio, or a plain number where it is empty.

    `actual` is None for what was not measured; then the rule is missed. `shortage` says that it would hold, but that
    there were too few samples for its percentile: it neither holds nor is it missed.
    """

    rule: str
    actual: float | None
    limit: float
    passed: bool
    unit: str = ""
    shortage: str = ""


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything about a run. Times in the unit that the name says, rates per second of the steady window."""

    schema: int = SCHEMA
    run_id: str
    kind: str
    url: str
    protocol: str = "wsctl"
    verdict: Verdict
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    config_hash: str
    config: dict[str, Any]
    started_at_ms: int
    steady_s: float
    asked: int = 0
    away_s: float = 0.0
    sent: int
    received: int
    sent_per_s: float
    received_per_s: float
    loss: float
    ledger: Ledger
    receivers: tuple[ReceiverLedger, ...] = ()
    receivers_affected: int = 0
    steps: dict[str, StepLedger] = {}
    marks: int = 0
    unpaired: int = 0
    connections: Connections
    workers: dict[int, int] = {}
    recovery: RecoveryLedger | None = None
    errors: dict[str, int]
    close_codes: dict[str, int]
    close_reasons: dict[str, int] = {}
    heartbeats_missed: int
    server_rss_kib: tuple[int, int] | None
    all_lost_at_s: float | None = None
    target_died_at_s: float | None
    was_interrupted: bool
    latencies: dict[str, Distribution]
    generator: Generator
    clock: HostClock
    series: tuple[Second, ...]


def config_of(plan: Plan) -> dict[str, Any]:
    """Return what of a plan makes runs comparable; what is long or secret is named by its hash."""
    config: dict[str, Any] = msgspec.to_builtins(plan)
    kept = {name: value for name, value in config.items() if name not in _NOT_CONFIGURATION}
    kept["recording"] = _digest(plan.recording) if plan.recording else None
    kept["script"] = Path(plan.script).name if plan.script is not None else None
    kept["dialogue"] = _digest(plan.dialogue) if plan.dialogue is not None else None  # it may hold what is secret
    kept["speech"] = _digest(plan.speech) if plan.speech else None
    return kept


def config_hash(plan: Plan) -> str:
    """Return the same text for runs that can be compared."""
    return _digest(config_of(plan))


def encode(summary: Summary) -> bytes:
    """Return summary.json."""
    return msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n"


def read_summary(path: Path) -> Summary:
    """Read a summary.json; raises ConfigError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Summary)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(path), f"is not a summary of a load test: {error}") from None


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:16]

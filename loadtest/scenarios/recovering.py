"""What runs whose connections come back tell of recovery: rules, facts and failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from loadtest.summary import Summary
from loadtest.wire import RecoveryLedger
from wscore.units import counted_noun


def _figure(name: str) -> Callable[[Summary], float | None]:
    def figure(summary: Summary) -> float | None:
        recovery = summary.recovery
        return None if recovery is None else getattr(recovery, name)

    return figure


RECOVERY_COUNTS: Final[Mapping[str, Callable[[Summary], float | None]]] = {
    "resumed": _figure("resumed"),
    "replayed": _figure("replayed"),
    "events_lost": _figure("lost"),
    "events_doubled": _figure("doubled"),
}


def recovery_facts(summary: Summary, group: str) -> Iterator[tuple[str, str]]:
    """Yield what became of those who came back to their `group`."""
    recovery = summary.recovery
    if recovery is None:
        yield "recovery", f"not measured: no connection came back to a {group} that keeps its events"
        return
    gone = f", {recovery.unrecovered:,} told that history is gone" if recovery.unrecovered else ""
    yield "recovery", f"{recovery.resumed:,} of {recovery.asked:,} resumed{gone}; {_events(recovery)}"


def recovery_failures(summary: Summary, groups: str) -> Iterator[str]:
    """Yield what went wrong with the events of the `groups`."""
    recovery = summary.recovery
    if recovery is not None and recovery.lost:
        yield f"{counted_noun(recovery.lost, 'event')} of {groups} never came, and no recovered: false said so."
    if recovery is not None and recovery.doubled:
        yield f"{counted_noun(recovery.doubled, 'event')} of {groups} came twice."


def _events(recovery: RecoveryLedger) -> str:
    figures = ((recovery.replayed, "replayed"), (recovery.lost, "lost"), (recovery.doubled, "doubled"))
    counted = [f"{count:,} {what}" for count, what in figures if count is not None]
    missing = [what for count, what in figures if count is None]
    texts = [f"events: {', '.join(counted)}"] if counted else []
    if missing:
        texts.append(f"not measured: {', '.join(missing)}")
    elif open_ends := recovery.asked - recovery.confirmed:
        texts.append(f"{counted_noun(open_ends, 'connection')} may miss more, since nothing came there afterwards")
    return "; ".join(texts)

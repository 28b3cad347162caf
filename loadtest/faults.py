"""What can be wrong with a message, as the ledger counts it: what rules, columns and verdicts call it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind; `field` is its name in the ledger, `sentence` what a verdict says behind the number."""

    field: str
    rule: str
    column: str
    sentence: str


FAULTS: Final = (
    Fault("lost", "lost", "lost", "messages were lost"),
    Fault("duplicated", "duplicates", "twice", "messages came twice"),
    Fault("reordered", "reorders", "out of order", "messages came out of order"),
    Fault("late", "late", "late", "messages came too late"),
    Fault("misdelivered", "misdelivered", "misdelivered", "messages came to a session or connection they were not for"),
    Fault("unknown", "unknown", "unknown", "messages came that nobody had sent or asked for"),
    Fault("corrupt", "corrupt", "corrupt", "messages came that were not as they were sent"),
)
FAULTS_BY_RULE: Final = {fault.rule: fault for fault in FAULTS}
ALL_FAULTS: Final = frozenset(fault.field for fault in FAULTS)

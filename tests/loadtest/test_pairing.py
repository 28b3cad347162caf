"""Which request a reply answers where replies carry no ids, and whose loss it is that leaves one without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from loadtest.generator.messages import Counts, Part
from loadtest.generator.pairing import Issuer, Pairing


@dataclass(eq=False)
class Connection:
    index: int
    asked: Any = None


INTERVAL_NS = 1_000_000_000


def lost_of(*fates: str, timeout_s: float = 10.0) -> tuple[int, list[int]]:
    """Ask in order; of each request say `lost`, `late` (behind the next one) or `came`, with a * where it counts.

    Returns how many of those without a reply had one, and which requests that count have none.
    """
    pairing = Pairing(timeout_s, lambda key: Issuer.NOBODY, Counts(), in_order=True)
    connection = Connection(7)
    owed = 0
    for number, fate in enumerate(fates):
        now_ns = number * INTERVAL_NS
        list(pairing.expired(now_ns))
        pairing.enter(str(number), (now_ns, now_ns, fate.endswith("*"), connection))
        replies = {"lost": 0, "late": 0, "came": 1}[fate.rstrip("*")] + owed
        owed = fate.startswith("late")
        for _ in range(replies):
            assert pairing.odd(connection, None, counts=True) is not None
    for _ in range(owed):
        assert pairing.odd(connection, None, counts=True) is not None
    part = Part()
    shifted = pairing.result(part, 0)
    assert set(part.unanswered) <= {7}
    return shifted, [sent_ns // INTERVAL_NS for sent_ns in part.unanswered.get(7, [])]


@pytest.mark.parametrize(
    ("fates", "shifted", "lost"),
    [
        (["came", "came*", "came*"], 0, 0),
        (["lost", "came", "came*", "came*", "came*"], 1, 0),  # the last one has no reply, and was answered
        (["lost", "lost", "came*", "came*", "came*"], 2, 0),
        (["came", "came*", "lost*", "came*"], 0, 1),
        (["lost", "came", "came*", "lost*", "came*", "came*"], 1, 1),
        (["late", "came*", "came*", "lost*", "came*"], 0, 1),  # what is only on its way shifts nothing
        (["late", "late*", "late*", "late*"], 0, 0),
        (["lost", "came", "came*", "came*", "lost*", "lost*"], 1, 2),
        (["lost", "lost*", "lost*"], 0, 2),  # who answers nobody has answered none of them
    ],
)
def test_what_was_lost_before_those_that_count_is_no_loss_of_theirs(fates, shifted, lost):
    found, unanswered = lost_of(*fates)
    assert (found, len(unanswered)) == (shifted, lost)


def test_one_that_waited_too_long_shifts_no_more():
    assert lost_of("lost", "lost", *["lost*"] * 3, timeout_s=1.5) == (0, [2, 3, 4])

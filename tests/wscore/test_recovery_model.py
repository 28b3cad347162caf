"""Recovery under any order of events: the oracle holds, and each of three known mistakes breaks it."""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.wscore.recoverymachine import WHAT_BREAKS, machine, running
from tests.wscore.recoveryworld import Mutant, World

SEEDS = int(os.environ.get("CHAOS_SEEDS", "100"))
RUN = running(SEEDS, 60)
# One small failure is as good as another: nothing is made smaller, and nothing is kept.
HUNT = settings(RUN, max_examples=2000, phases=[Phase.generate], derandomize=True)


@pytest.mark.chaos
def test_whoever_comes_back_has_everything_once_in_order_or_is_told_that_it_has_not():
    run_state_machine_as_test(machine(World), settings=RUN)


@pytest.mark.parametrize("mutant", [mutant for mutant in Mutant if mutant is not Mutant.NONE])
def test_the_oracle_catches(mutant):
    with pytest.raises(AssertionError, match=WHAT_BREAKS):
        run_state_machine_as_test(machine(lambda: World(mutant)), settings=HUNT)

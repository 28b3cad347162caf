"""Recovery under any order of events: the oracle holds, and each of three known mistakes breaks it."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.wscore.recoveryworld import CLIENTS, GROUPS, Mutant, World

SEEDS = int(os.environ.get("CHAOS_SEEDS", "100"))
STEPS = 60
RUN = settings(
    max_examples=SEEDS, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
# One small failure is as good as another: nothing is made smaller, and nothing is kept.
HUNT = settings(RUN, max_examples=2000, phases=[Phase.generate], derandomize=True)

groups = st.sampled_from(GROUPS)
names = st.sampled_from(CLIENTS)


class RecoveryMachine(RuleBasedStateMachine):
    """Publishes, cuts, resumes and reads in any order."""

    mutant = Mutant.NONE

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.mutant)

    @rule(group=groups, size=st.sampled_from((0, 20, 500, 2900, 4000)), left_out=st.none() | names)
    def publish(self, group, size, left_out):
        self.world.publish(group, size, left_out)

    @rule(group=groups, times=st.integers(2, 12))
    def publish_many(self, group, times):
        for _ in range(times):
            self.world.publish(group, 0)

    @rule(group=groups, name=names)
    def connect(self, group, name):
        self.world.connect(group, name)

    @rule(group=groups, name=names)
    def cut(self, group, name):
        self.world.cut(group, name)

    @rule(group=groups, name=names, times=st.integers(1, 5))
    def read(self, group, name, times):
        for _ in range(times):
            self.world.read(group, name)

    @rule(group=groups)
    def renew(self, group):
        self.world.renew(group)

    @rule(seconds=st.sampled_from((0.1, 10, 59.9, 60, 61)))
    def wait(self, seconds):
        self.world.wait(seconds)

    @invariant()
    def within_bounds(self):
        self.world.check()

    def teardown(self):
        self.world.settle()


@pytest.mark.chaos
def test_whoever_comes_back_has_everything_once_in_order_or_is_told_that_it_has_not():
    run_state_machine_as_test(RecoveryMachine, settings=RUN)


@pytest.mark.parametrize("mutant", [mutant for mutant in Mutant if mutant is not Mutant.NONE])
def test_the_oracle_catches(mutant):
    machine = type("Broken", (RecoveryMachine,), {"mutant": mutant})
    with pytest.raises(AssertionError, match=r"came before the greeting|came after|elsewhere|is not what"):
        run_state_machine_as_test(machine, settings=HUNT)

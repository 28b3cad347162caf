"""Publishes, cuts, resumes and reads in any order: the rules that hypothesis plays, on a model or on a real server."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.wscore.recoveryworld import CLIENTS, GROUPS, World

WHAT_BREAKS = r"came before the greeting|came after|elsewhere|is not what"

groups = st.sampled_from(GROUPS)
names = st.sampled_from(CLIENTS)


def running(seeds: int, steps: int, **others: object) -> settings:
    """Return how to play: so many times, with so many steps each."""
    return settings(
        max_examples=seeds,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        **others,
    )


class RecoveryMachine(RuleBasedStateMachine):
    """Every step is one of `world`, a new one each time."""

    new_world: Callable[[], World]

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).new_world()

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


def machine(new_world: Callable[[], World]) -> type[RecoveryMachine]:
    """Return the machine for one kind of world."""
    return type("Recovery", (RecoveryMachine,), {"new_world": staticmethod(new_world)})

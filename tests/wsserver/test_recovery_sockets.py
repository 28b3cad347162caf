"""The machine of `tests/wscore/test_recovery_model.py` on a real server: the oracle holds, and catches the same."""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.wscore.recoverymachine import WHAT_BREAKS, machine, running
from tests.wscore.recoveryworld import Mutant
from tests.wsserver.recoverysockets import Running, SocketWorld
from wsserver.settings import EngineName

SEEDS = int(os.environ.get("CHAOS_SEEDS", "100"))
RUN = running(SEEDS, 40)
HUNT = settings(RUN, max_examples=2000, phases=[Phase.generate], derandomize=True)


@pytest.fixture
def serve(monkeypatch):
    """Run a server, a broken one for a mutant."""
    servers = []

    def start(engine, mutant=Mutant.NONE):
        servers.append(Running(engine, mutant, monkeypatch.setattr))
        return lambda: SocketWorld(servers[-1])

    yield start
    for server in servers:
        server.stop()


@pytest.mark.chaos
def test_whoever_comes_back_has_everything_once_in_order_or_is_told_that_it_has_not(serve, engine):
    run_state_machine_as_test(machine(serve(engine)), settings=RUN)


@pytest.mark.parametrize("mutant", [mutant for mutant in Mutant if mutant is not Mutant.NONE])
def test_the_oracle_catches_on_a_real_server(serve, mutant):
    with pytest.raises(AssertionError, match=WHAT_BREAKS):
        run_state_machine_as_test(machine(serve(EngineName.PICOWS, mutant)), settings=HUNT)

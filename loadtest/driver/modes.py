"""The three ways to run a plan: alone, as a Locust master with workers, or as a worker of one."""

from __future__ import annotations

import signal
import sys
from typing import Any, Final

import gevent
import msgspec
from locust.stats import stats_history

from loadtest.driver.controller import RunController, write
from loadtest.driver.eventloop import LoopGreenlet
from loadtest.driver.forking import Child
from loadtest.driver.process import LoadProcess
from loadtest.driver.processes import LocustWorkers, OwnProcess
from loadtest.driver.users import ScriptError, new_environment
from loadtest.driver.worker import LoadWorker
from loadtest.generator.dialing import OWN_LIMITS, Dialer, reason
from loadtest.generator.memory import ServerMemory
from loadtest.generator.probing import TargetRefusal, probe, receive_floor_us, refusal
from loadtest.scenarios import SCENARIOS
from loadtest.wire import Plan

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_WRONG_INPUT: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_AUTH_REFUSED: Final = 4
EXIT_TOO_MUCH: Final = 5  # for this machine
EXIT_INTERRUPTED: Final = 130
REFUSED_EDIT: Final = "This page only shows the run: end it with Ctrl-C where it was started.\n"
CHILD_TIMEOUT_S: Final = 5.0
PROBES_MORE: Final = 2
PROBE_PAUSE_S: Final = 0.3


def run(plan: Plan) -> int:
    """Run the plan; returns the exit code."""
    own_workers = plan.processes if plan.processes > 1 and plan.worker_of is None and plan.master_port is None else 0
    children = [Child(lambda port: _work(_share(plan, port), is_own=True)) for _ in range(own_workers)]
    try:
        if plan.worker_of is not None:
            return _work(plan, is_own=False)
        return _lead(plan, children)
    except ScriptError as error:
        say(str(error))
        return EXIT_WRONG_INPUT
    except OSError as error:  # the target's name is not known
        return _refused(TargetRefusal(reason(error), is_token=False))
    finally:
        for child in children:
            child.end(CHILD_TIMEOUT_S)


def _share(plan: Plan, port: int) -> Plan:
    return msgspec.structs.replace(plan, processes=1, web_port=None, worker_of=f"127.0.0.1:{port}")


def _work(plan: Plan, *, is_own: bool) -> int:
    loop = LoopGreenlet()
    loop.start()
    worker = LoadWorker(
        plan,
        loop,
        new_environment(plan),
        loop.run(receive_floor_us(plan, Dialer.of(plan))),
    )
    if not is_own:
        gevent.signal_handler(signal.SIGINT, worker.interrupt)
    return worker.run()


def _lead(plan: Plan, children: list[Child]) -> int:
    loop = LoopGreenlet()
    loop.start()
    dialer = Dialer.of(plan)
    query = SCENARIOS[plan.kind].probe_query(plan)

    def answers() -> bool:
        # A master need not reach the target itself.
        return plan.master_port is None and loop.run(probe(plan, dialer, query)) is None

    if plan.master_port is None:
        obstacle = loop.run(probe(plan, dialer, query))
        for _ in range(PROBES_MORE):  # one refusal is no verdict, unless another token is what it takes
            if obstacle is None or obstacle.is_token:
                break
            gevent.sleep(PROBE_PAUSE_S)
            obstacle = loop.run(probe(plan, dialer, query))
        if obstacle is not None:
            return _refused(obstacle)
    environment = new_environment(plan)
    memory = ServerMemory(plan.server_pid, dialer.port if dialer.is_loopback else None)
    if not children and plan.master_port is None:
        local = environment.create_local_runner()
        process = LoadProcess(plan, loop, environment.stats, floor_us=loop.run(receive_floor_us(plan, dialer)))
        return _control(RunController(plan, OwnProcess(process), local, memory, answers), plan, environment)
    runner = environment.create_master_runner("127.0.0.1" if children else "*", plan.master_port or 0)
    for child in children:
        child.start(runner.server.port)
    processes = LocustWorkers(runner, len(children) or max(1, plan.expected_workers))
    if not children:
        say(f"waiting for {processes.size} workers on port {plan.master_port}")
    controller = RunController(plan, processes, runner, memory, answers)
    gevent.signal_handler(signal.SIGINT, controller.interrupt)
    if processes.gather(plan, lambda: not controller.is_interrupted and all(child.is_running() for child in children)):
        return _control(controller, plan, environment)
    if controller.is_interrupted:
        return EXIT_INTERRUPTED
    say("a process that was to drive ended at once")
    return EXIT_FAILED


def _control(controller: RunController, plan: Plan, environment: Any) -> int:
    runner = environment.runner
    gevent.signal_handler(signal.SIGINT, controller.interrupt)
    if plan.web_port is not None:
        only_show(environment.create_web_ui("127.0.0.1", plan.web_port))
        gevent.spawn(stats_history, runner)
        say(f"Locust's web UI: http://127.0.0.1:{plan.web_port}")
    try:
        result = controller.run()
        if result is not None:
            write(result)
            return EXIT_DONE
        if controller.is_interrupted:
            return EXIT_INTERRUPTED
        return _refused(refusal(_most_frequent(controller.counts.errors)))
    finally:
        if environment.web_ui is not None:
            environment.web_ui.stop()
        runner.quit()


def only_show(web_ui: Any) -> None:
    """Refuse what would change the run from the web: its plan leads it, and what a page set would be no run of that."""

    def refuse() -> tuple[str, int] | None:
        from flask import request

        return None if request.method in ("GET", "HEAD", "OPTIONS") else (REFUSED_EDIT, 403)

    web_ui.app.before_request(refuse)


def _most_frequent(errors: dict[str, int]) -> str:
    return max(errors, key=errors.__getitem__, default="no connection came about")


def say(text: str) -> None:
    """Tell people something."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _refused(obstacle: TargetRefusal) -> int:
    say(obstacle.reason)
    if obstacle.reason in OWN_LIMITS:
        return EXIT_TOO_MUCH
    return EXIT_AUTH_REFUSED if obstacle.is_token else EXIT_UNREACHABLE

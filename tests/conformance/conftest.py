"""What both sides of the Autobahn suite share: the groups of cases, the accepted verdicts and a running server."""

from __future__ import annotations

import binascii
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kosoku._kosoku import CaseResult

HANG_S = 60
ROOT = Path(__file__).parents[2]

# How many cases each group has, so that a selection that matches nothing is no success. Left out: 9 (performance)
# and 12 and 13 (permessage-deflate, the only groups whose verdict can be UNIMPLEMENTED).
GROUPS: Mapping[str, int] = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "10": 1}

# These cases give no other verdict, since RFC 6455 leaves open what they look at: whether a message is still answered
# when a close frame follows at once (7.1.6), and close codes that it has no rule for (7.13).
INFORMATIONAL = frozenset({"7.1.6", "7.13.1", "7.13.2"})

# UTF-8 is checked once a message is complete, and not in each fragment on its own. RFC 6455 section 8.1 asks that the
# connection fails, not when; it does, with 1007.
UTF_8_AT_THE_END = frozenset({"6.4.1", "6.4.2", "6.4.3", "6.4.4"})

# A good message and a broken frame that arrive together: the parser fails the connection, with the right code, before
# the message ahead of it is answered. The split into TCP segments decides, so OK may come too.
BAD_OPCODE_AFTER_A_MESSAGE = frozenset({"4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5"})
BAD_RSV_OR_FRAGMENT_AFTER_A_MESSAGE = frozenset({"3.2", "3.3", "3.4", "5.15"})

# By whose parser reads the frames.
NON_STRICT: Mapping[str, frozenset[str]] = {
    "picows": UTF_8_AT_THE_END | BAD_OPCODE_AFTER_A_MESSAGE,
    "websockets": UTF_8_AT_THE_END | BAD_OPCODE_AFTER_A_MESSAGE | BAD_RSV_OR_FRAGMENT_AFTER_A_MESSAGE,
}

# 7.1.5: a close frame inside a fragmented message. `websockets` calls that a protocol error and answers 1002.
KNOWN_FAILURES: Mapping[str, frozenset[str]] = {"picows": frozenset(), "websockets": frozenset({"7.1.5"})}


def _is_accepted(result: CaseResult, parser: str) -> bool:
    verdict = (result.behavior.value, result.behavior_close.value)
    return (
        verdict == ("OK", "OK")
        or (verdict == ("NON-STRICT", "OK") and result.case_id in NON_STRICT[parser])
        or (verdict == ("INFORMATIONAL", "INFORMATIONAL") and result.case_id in INFORMATIONAL)
        or (verdict == ("FAILED", "WRONG CODE") and result.case_id in KNOWN_FAILURES[parser])
    )


def _explained(result: CaseResult) -> str:
    verdicts = f"{result.behavior.value}: {result.result} / {result.behavior_close.value}: {result.result_close}"
    return (
        f"{result.case_id} {verdicts} (closed with {result.remote_close_code} {result.remote_close_reason or ''!r})\n"
        f"    {result.description}\n    expected: {result.expectation}"
    )


@pytest.fixture(params=GROUPS)
def group(request: pytest.FixtureRequest) -> str:
    """Each test that takes this runs once per group of cases."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def case_counts() -> Mapping[str, int]:
    return GROUPS


@pytest.fixture(scope="session")
def complaints() -> Callable[[Collection[CaseResult], str], str]:
    """Explain the cases whose verdict is not accepted: `complaints(results, "websockets")` is empty if all are."""

    def explain(results: Collection[CaseResult], parser: str) -> str:
        return "\n".join(_explained(result) for result in results if not _is_accepted(result, parser))

    return explain


@pytest.fixture(autouse=True)
def _leave_the_interpreter_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # The suite was written for Python 2: it replaces b2a_hex and puts a pkg_resources of its own on the path.
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(binascii, "b2a_hex", binascii.b2a_hex)


class EchoServer:
    """A running `wsctl serve --echo-path`; its log is read all the time, or the pipe would fill up and stop it."""

    def __init__(self, engine: str, directory: Path) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
        options = [
            "--echo-path",
            "/echo",
            "--max-message-size",
            "64MiB",
            "--max-inbound-memory",
            "192MiB",
            "--port",
            "0",
            "--engine",
            engine,
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "serve", "--log-format", "json", *options],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=directory,
            env=clean | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
        )
        self._log: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._log.append(line)
                if '"server.listening"' in line:
                    self._listening.set()
        self._listening.set()

    @property
    def url(self) -> str:
        assert self._listening.wait(HANG_S), "the server does not start"
        for line in self._log:
            if '"server.listening"' in line:
                url: str = json.loads(line)["url"]
                return url.replace("/socket.io/", "/echo")
        raise AssertionError(f"the server did not start: {''.join(self._log)}")

    def stop(self) -> list[str]:
        """End it; returns the lines of its log that are not routine."""
        self._process.terminate()
        try:
            self._process.wait(HANG_S)
        finally:
            self._process.kill()
            self._reader.join(HANG_S)
        return [line for line in self._log if '"level": "info"' not in line]


@pytest.fixture(scope="session")
def echo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Return the URL of an engine's echo: `echo_url("picows")`; the server is started once."""
    servers: dict[str, EchoServer] = {}

    def url(engine: str) -> str:
        if engine not in servers:
            servers[engine] = EchoServer(engine, tmp_path_factory.mktemp(engine))
        return servers[engine].url

    yield url
    trouble = [line for server in servers.values() for line in server.stop()]
    assert not trouble, f"a server logged: {''.join(trouble)}"

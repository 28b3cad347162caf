"""`wsctl loadtest` as a process, and what it says of its run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests import forked

WSCTL = str(Path(sys.executable).with_name("wsctl"))
HANG_S = 60


class LoadRun(NamedTuple):
    """A run that has ended."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        assert self.out, self.err
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def failures(self) -> list[str]:
        """Why it failed; that this machine is too busy to drive it on time is not the server's fault."""
        reasons = self.summary["reasons"]
        busy = [reason for reason in reasons if "of messages that were sent late" in reason]
        doubts = [*self.summary["generator"]["doubts"], *busy]
        assert (self.summary["verdict"], self.code) in (("passed", 0), ("failed", 99), ("invalid", 98))
        assert (self.code == 98) == bool(doubts)
        return [reason for reason in reasons if reason not in doubts]


def run_loadtest(folder: Path, *arguments: str) -> LoadRun:
    """Run it in a folder, in an environment without settings."""
    done = forked.run(["loadtest", *arguments], timeout=HANG_S, cwd=folder, env=forked.environment())
    return LoadRun(done.returncode, done.stdout, done.stderr)

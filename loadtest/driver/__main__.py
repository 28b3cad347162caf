"""`python -m loadtest.driver`: reads a plan from standard input and runs it, see loadtest/wire.py."""

from __future__ import annotations

# Locust patches the standard library when it is imported: that comes before anything that keeps a socket or a lock.
import locust  # noqa: F401  # isort: skip

import sys

import msgspec

from loadtest.driver.modes import EXIT_FAILED, EXIT_TOO_MUCH, run, say
from loadtest.generator.selfcheck import LimitError, allow_files
from loadtest.wire import Plan
from wscore.text import describe


def main() -> int:
    """Run the plan on standard input; returns the exit code."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    try:
        allow_files(plan)
    except LimitError as error:
        say(str(error))
        return EXIT_TOO_MUCH
    try:
        return run(plan)
    except Exception as error:
        say(f"internal error: {describe(error)}")
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())

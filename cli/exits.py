"""Exit codes, and which error ends in which (design section 10)."""

from __future__ import annotations

from enum import IntEnum

from wscore.errors import ConfigError, CredentialError, TargetError, WsctlError


class ExitCode(IntEnum):
    """What a script learns from the end of a command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    AUTH_REFUSED = 4
    INVALID_RUN = 98  # the generator could not drive the load test
    THRESHOLD = 99
    INTERRUPTED = 130


def exit_code_of(error: WsctlError) -> ExitCode:
    """Return the exit code for an error that ends a command."""
    match error:
        case ConfigError():
            return ExitCode.USAGE
        case CredentialError():  # first: a target that refuses them was reached
            return ExitCode.AUTH_REFUSED
        case TargetError():
            return ExitCode.UNREACHABLE
        case _:
            return ExitCode.FAILED

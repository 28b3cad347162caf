"""Errors that an app sends: with a code of the protocol, or with one that the app has declared itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from wscore.codes import ERRORS, ErrorCode
from wscore.errors import ConfigError, WsctlError

_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class AppErrorCode(str):
    """A code that `App.error` has declared: what `ctx.error` takes, and what makes the exception to raise."""

    __slots__ = ("meaning", "retryable")

    meaning: str
    retryable: bool

    def __call__(self, message: str = "", details: dict[str, object] | None = None) -> AppError:
        """Return an exception that answers the message that is handled with this code; raise it."""
        return AppError(self, message, details)


class AppError(WsctlError):
    """Raised by a handler: its client is answered with an `error`, and nothing is logged as a failure.

    `code` is one of the protocol or one that the app has declared. Without a `message` the client gets the meaning of
    the code. `details` is an object for programs.
    """

    def __init__(
        self, code: ErrorCode | AppErrorCode, message: str = "", details: dict[str, object] | None = None
    ) -> None:
        super().__init__(code, message, details)
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.message or meaning_of(self.code)}"


def declared_code(code: str, meaning: str, *, retryable: bool) -> AppErrorCode:
    """Return a code of an app's own; raises ConfigError for what cannot be one."""
    if not _CODE.fullmatch(code):
        raise ConfigError(repr(code), "is no error code", "a code is 1 to 64 of A-Z 0-9 _ and begins with a letter")
    if code in ERRORS:
        raise ConfigError(code, "this error code belongs to the protocol", f"use ErrorCode.{code}")
    declared = AppErrorCode(code)
    declared.meaning = meaning
    declared.retryable = retryable
    return declared


def merge_codes(codes: dict[str, AppErrorCode], others: Mapping[str, AppErrorCode]) -> None:
    """Add declared codes to others; raises ConfigError where two mean something else by one name."""
    for code, declared in others.items():
        if (known := codes.setdefault(code, declared)) is not declared:
            problem = f"this error code is declared already: {known.meaning!r}"
            raise ConfigError(code, problem, "declare it once, and import it from there")


def meaning_of(code: str) -> str:
    """Return what is said of an error where nobody says more."""
    if isinstance(code, AppErrorCode):
        return code.meaning or code
    return ERRORS[ErrorCode(code)].meaning if code in ERRORS else code

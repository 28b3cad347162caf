"""The root of every error that wsctl raises on purpose; errors hold data, `__str__` renders it."""

from __future__ import annotations


class WsctlError(Exception):
    """Base class: catching it catches every error that wsctl raises on purpose."""


class ConfigError(WsctlError):
    """A setting cannot be used.

    `setting` names it the way the user wrote it, `problem` says what is wrong, `mend` what to do.
    """

    def __init__(self, setting: str, problem: str, mend: str = "") -> None:
        super().__init__(setting, problem, mend)
        self.setting = setting
        self.problem = problem
        self.mend = mend

    def __str__(self) -> str:
        text = f"{self.setting}: {self.problem}"
        return f"{text}; {self.mend}" if self.mend else text


class TargetError(WsctlError):
    """The target of a command cannot be reached; subclasses say where and why."""


class CredentialError(WsctlError):
    """Credentials are refused; subclasses say which rule did."""

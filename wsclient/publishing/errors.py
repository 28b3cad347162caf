"""Why something that the operations port was asked for is not done, or not known to be."""

from __future__ import annotations

from wscore.errors import CredentialError, TargetError, WsctlError
from wscore.operations import ApiErrorCode
from wscore.text import neutralise


class OperationsError(WsctlError):
    """What was asked for is not done; or nobody knows, then `is_unknown`: it is done already, or will be, or not."""

    is_unknown = False


class OperationRefusedError(OperationsError):
    """The port says why not: `code` as in docs/api.md, and the `place` of it in what was asked, as `$.room`."""

    def __init__(self, code: str, message: str, place: str | None = None, status: int = 0) -> None:
        super().__init__(code, message, place, status)
        self.code = code
        self.message = message
        self.place = place
        self.status = status

    def __str__(self) -> str:
        # What a server wrote, and it may be shown at a terminal.
        place = "" if self.place is None else f" ({neutralise(self.place)})"
        return f"{neutralise(self.code)}: {neutralise(self.message)}{place}"


class OperationsKeyError(OperationRefusedError, CredentialError):
    """The port wants another key, or one that may do more than look."""

    def __str__(self) -> str:
        source = (
            "; it comes from WSCTL_OPS_KEY, --ops-key-file or key=" if self.code == ApiErrorCode.UNAUTHORIZED else ""
        )
        return super().__str__() + source


class OperationsUnreachableError(OperationsError, TargetError):
    """There is no port, or what is there gives no answer of it; `problem` says what happened."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url = url
        self.problem = problem

    def __str__(self) -> str:
        doubt = "; nobody knows whether it is done" if self.is_unknown else ""
        return f"no answer of the operations port at {self.url}: {self.problem}{doubt}"

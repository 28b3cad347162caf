"""What a broker has to do with revocations: it hands them to every process, and says when that cannot be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from wscore.errors import WsctlError
from wscore.revocations import MAX_REVOCATIONS, RevokedEntry

# Takes what another process has revoked, and returns all that is revoked here, by key.
TakeRevoked = Callable[[Sequence[RevokedEntry]], None]
RevokedHere = Callable[[], Mapping[bytes, RevokedEntry]]


class NotRevokedError(WsctlError):
    """Nothing was revoked; or nobody knows, if `is_unknown`. To ask again does no harm."""

    def __init__(self, problem: str, *, is_unknown: bool = False) -> None:
        super().__init__(problem, is_unknown)
        self.problem = problem
        self.is_unknown = is_unknown

    def __str__(self) -> str:
        outcome = "it is not known whether this is revoked" if self.is_unknown else "nothing was revoked"
        return f"{outcome}: {self.problem}; try again"


class RevocationsFullError(NotRevokedError):
    """Nothing was revoked: there is no room for another one."""

    def __init__(self) -> None:
        super().__init__(f"{MAX_REVOCATIONS:,} revocations are kept, and there is room for no more")

    def __str__(self) -> str:
        return f"{self.problem}; revoke a user, or all tokens issued before a moment, in place of single ones"

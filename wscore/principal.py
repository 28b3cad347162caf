"""Who is connected: the outcome of authentication, and the errors that stand in its place."""

from __future__ import annotations

from dataclasses import dataclass, field

from wscore.codes import ErrorCode
from wscore.errors import CredentialError
from wscore.rooms import RoomGrant


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user or guest.

    `expires_at_ms` is wall-clock ms since the epoch; `session_id` is the token's `sid`, which pins the session;
    `rooms` is its claim of that name, None where there is none. `token_id` is its `jti`, and `issued_at_ms` when it was
    issued, by which it can be revoked; None where it does not say.
    """

    user_id: str
    is_guest: bool
    expires_at_ms: int
    session_id: str | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)
    rooms: tuple[RoomGrant, ...] | None = None
    token_id: str | None = None
    issued_at_ms: int | None = None


class AuthError(CredentialError):
    """A connection or token is refused.

    `code` goes to the client, `reason` is a text without any part of the token, `rule` names the check that
    refused it (for `wsctl token inspect` and tests).
    """

    def __init__(self, code: ErrorCode, reason: str, rule: str) -> None:
        super().__init__(code, reason, rule)
        self.code = code
        self.reason = reason
        self.rule = rule

    def __str__(self) -> str:
        return self.reason

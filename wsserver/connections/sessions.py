"""Sessions: who may join one (design sections 3 and 4)."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from wscore.codes import ErrorCode
from wscore.principal import AuthError, Principal
from wsserver.brokers.base import SESSION
from wsserver.connections.groups import Groups
from wsserver.connections.state import Group

_SESSION_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def is_session_id(text: str) -> bool:
    """Tell whether a session may be called this."""
    return _SESSION_ID.fullmatch(text) is not None


class SessionJoin(StrEnum):
    """Who may join a session by its id: the holder of a token whose `sid` names it, or anybody authenticated."""

    TOKEN = "token"
    OPEN = "open"


class SessionService:
    """Decides who enters which session; `new_id` supplies unguessable ids."""

    __slots__ = ("_groups", "_join", "_new_id")

    def __init__(self, join: SessionJoin, groups: Groups, new_id: Callable[[], str]) -> None:
        self._join = join
        self._groups = groups
        self._new_id = new_id

    def enter(self, principal: Principal, wanted_id: str | None, *, was_in: bool = False) -> Group:
        """Return the session that `principal` may join: the wanted one, the one of its token, or a new one.

        Who proved that it `was_in` the wanted one may come back.

        Raises AuthError with SESSION_CREATE_FAILED when it may not, or the id is malformed.
        """
        session_id = principal.session_id or wanted_id or self._new_id()
        if not is_session_id(session_id):
            raise _refused("A session id is 1 to 128 of A-Z a-z 0-9 _ . : -", "session-id")
        if wanted_id and wanted_id != session_id:
            raise _refused("The token is pinned to another session.", "session-pinned")
        if wanted_id and not was_in and self._join is SessionJoin.TOKEN and principal.session_id is None:
            raise _refused("Joining a session needs a token whose sid names it.", "session-join")
        return self.find(session_id)

    def find(self, session_id: str) -> Group:
        """Return the session of an id, a new one if nobody is in it."""
        return self._groups.find(SESSION, session_id)


def _refused(reason: str, rule: str) -> AuthError:
    return AuthError(ErrorCode.SESSION_CREATE_FAILED, reason, rule)

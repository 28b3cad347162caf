"""The connections of each user, as groups: nobody pays for them before an app sends to a user (design section 4)."""

from __future__ import annotations

from collections.abc import Iterable

from wscore.guest import is_guest_id
from wscore.principal import Principal
from wsserver.brokers.base import USER
from wsserver.connections.groups import Groups, user_group_name
from wsserver.connections.state import Connection

# A user as an app names one: who is connected, or a user id. The id of a guest is known by its form.
User = Principal | str


class UserGroups:
    """Joins and leaves for each connection by itself, from the first time on that a user's group is asked for.

    That may be in another process: with `from_start` they exist at once.

    Where anybody can write the guest token of anybody else, `for_guests` is False, and guests have none.
    """

    __slots__ = ("_for_guests", "_groups", "_is_used")

    def __init__(self, groups: Groups, *, for_guests: bool, from_start: bool = False) -> None:
        self._groups = groups
        self._for_guests = for_guests
        self._is_used = from_start

    def name_of(self, user: User, everyone: Iterable[Connection]) -> str:
        """Return the name of a user's group; the first time, `everyone` who is connected joins theirs."""
        if not self._is_used:
            self._is_used = True
            for connection in everyone:
                self.enter(connection)
        if isinstance(user, Principal):
            return user_group_name(user.user_id, is_guest=user.is_guest)
        return user_group_name(user, is_guest=is_guest_id(user))

    def coming(self, principal: Principal) -> str | None:
        """Return the name of the group that a user's next connection is going to be in; None without any."""
        if not self._is_used or (principal.is_guest and not self._for_guests):
            return None
        return user_group_name(principal.user_id, is_guest=principal.is_guest)

    def enter(self, connection: Connection) -> None:
        """Make a new connection a member of its user's group, once there are such groups."""
        name = self.coming(connection.principal)
        if name is not None:
            self._groups.join(self._groups.find(USER, name), connection)

    def leave(self, connection: Connection) -> None:
        """Take a connection that is gone out of its user's group."""
        if self._is_used:
            principal = connection.principal
            group = self._groups.get(USER, user_group_name(principal.user_id, is_guest=principal.is_guest))
            if group is not None:
                self._groups.leave(group, connection)

"""Who comes in: by key, from this machine, and no web page of somebody else's (design section 14).

Without a key a browser is what to beware of: a page of evil.example may let its own name point to 127.0.0.1, or send
requests to the port without being able to read the answers. The Host, the Origin and what browsers say of the site
that a request comes from keep both out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import Headers

from wscore.operations import ApiErrorCode
from wsserver.handshake.hosts import HostPolicy
from wsserver.handshake.origins import normalise
from wsserver.operations.accesskeys import Right
from wsserver.operations.keyring import KeyRing
from wsserver.operations.problems import ApiError
from wsserver.telemetry.logs import EventLog

OWN_SITES: Final = ("same-origin", "none")  # of a page of ours, or of nobody's: the address was typed
ANYBODY: Final = "anybody on this machine"
SCHEME: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks: the name of the key, where from, and whether it may act."""

    name: str
    address: str
    may_act: bool


class Door:
    """Lets callers in; without keys everybody on this machine is one who may do everything."""

    __slots__ = ("_hosts", "_keys", "_log")

    def __init__(self, keys: KeyRing | None, log: EventLog) -> None:
        self._keys = keys
        self._log = log
        self._hosts = HostPolicy(is_enforced=keys is None)

    def admit(self, scope: Mapping[str, Any]) -> Operator:
        """Return who sent a request; raises ApiError."""
        headers = Headers(scope=dict(scope))
        self._check_page(headers)
        client = scope.get("client")
        address = str(client[0]) if client else ""
        if self._keys is None:
            return Operator(ANYBODY, address, may_act=True)
        given = headers.getlist("authorization")
        problem = "A key is needed: Authorization: Bearer KEY."
        if len(given) == 1 and given[0][: len(SCHEME)].lower() == SCHEME:
            self._keys.look(self._log)
            found = self._keys.whose(given[0][len(SCHEME) :].strip().encode("latin-1"))
            if found is not None:
                return Operator(found.name, address, may_act=found.right is Right.WRITE)
            problem = "The key is none of this server's."
        raise ApiError(ApiErrorCode.UNAUTHORIZED, problem)

    def _check_page(self, headers: Headers) -> None:
        """Refuse what a web page that is not ours has sent, or had sent."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._hosts.allows(hosts[0]):
            raise ApiError(ApiErrorCode.FORBIDDEN, "This host is not served here.")
        if any(site not in OWN_SITES for site in headers.getlist("sec-fetch-site")):
            raise ApiError(ApiErrorCode.FORBIDDEN, "Pages of other sites are not served here.")
        own = (normalise(f"http://{hosts[0]}"), normalise(f"https://{hosts[0]}"))
        if any(normalise(origin) not in own or origin == "null" for origin in headers.getlist("origin")):
            raise ApiError(ApiErrorCode.FORBIDDEN, "Pages of other origins are not served here.")

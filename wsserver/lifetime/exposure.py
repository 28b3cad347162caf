"""Says that the dev profile, which is for this machine, serves the world: behind a proxy, or with a secret set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wscore.guest import GuestMode
from wsserver.connections.sessions import SessionJoin
from wsserver.engines.request import HandshakeRequest
from wsserver.handshake.origins import OriginPolicy
from wsserver.settings import Profile, ServerSettings
from wsserver.telemetry.logs import EventLog

# What proxies add to the requests that they pass on.
_TRACES: Final = frozenset(
    ("x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-host", "x-forwarded-proto", "via")
)


class ExposureWatch:
    """Warns once at the start and once at the first request that came through a proxy.

    It has nothing to say in the prod profile, and where signed guests and joining by token were chosen.
    """

    __slots__ = ("_is_watching", "_log", "_open", "_reason")

    def __init__(self, settings: ServerSettings, origins: OriginPolicy, log: EventLog) -> None:
        self._reason = next(_signs(settings, origins), None)
        self._log = log
        self._open = ", ".join(_open_choices(settings)) if settings.profile is Profile.DEV else ""
        self._is_watching = bool(self._open)

    def started(self) -> None:
        """Warn about settings that only make sense for more than this machine."""
        if self._open and self._reason is not None:
            self._warn(self._reason)

    def check(self, request: HandshakeRequest) -> None:
        """Warn if a proxy passed this request on; after that nothing is looked at any more."""
        if self._is_watching and (trace := request.first_header_of(_TRACES)) is not None:
            self._is_watching = False
            self._warn(f"a proxy passes requests on ({trace})")

    def _warn(self, reason: str) -> None:
        self._log.warning("server.exposed", profile="dev", reason=reason, open=self._open, mend="--profile prod")


def _open_choices(settings: ServerSettings) -> Iterator[str]:
    if settings.guests is GuestMode.UNSIGNED:
        yield "anybody connects as a guest"
    if settings.session_join is SessionJoin.OPEN:
        yield "anybody joins any session"


def _signs(settings: ServerSettings, origins: OriginPolicy) -> Iterator[str]:
    if settings.jwt_key is not None or settings.guest_secret is not None:
        yield "a key for tokens is set"
    for origin in origins.public:
        yield f"pages of {origin} may connect"

"""What the hook before a session sees of a handshake, and what it can decide (design section 3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, Generic, NoReturn

from typing_extensions import TypeVar

from wscore.codes import ErrorCode
from wscore.principal import Principal
from wscore.rooms import RoomGrant
from wsserver.engines.request import HandshakeRequest
from wsserver.sdk.errors import AppError, AppErrorCode
from wsserver.sdk.hub import Hub
from wsserver.sdk.sendable import check_close

S = TypeVar("S", default=Any)

DEFAULT_VALID_S: Final = 24 * 60 * 60
_MAX_USER_ID: Final = 256  # as of a token
_SECRET_FIELDS: Final = ("token", "resume")


class ConnectRefusedError(AppError):
    """What `ConnectRequest.refuse` raises."""

    def __init__(self, code: ErrorCode | AppErrorCode, message: str, close_code: int | None) -> None:
        super().__init__(code, message)
        self.close_code = close_code


class ConnectRequest(Generic[S]):
    """The request of a client that wants to connect, once its origin, the limits and its token were found good.

    `principal` is whom the token names, None without a token; the hook may replace it. `claims` are the token's, empty
    for a guest. `headers` have lower-case names, values of several lines joined by a comma, those of `cookie` by a
    semicolon. Neither they nor `query` hold the token. `address` is the client's, whatever proxies are between; None on
    a Unix socket.
    """

    __slots__ = (
        "_new_state",
        "_now_ms",
        "_state",
        "_verified",
        "address",
        "claims",
        "headers",
        "hub",
        "path",
        "principal",
        "query",
    )

    def __init__(
        self,
        request: HandshakeRequest,
        principal: Principal | None,
        claims: Mapping[str, Any],
        hub: Hub,
        new_state: Callable[[], S],
        now_ms: Callable[[], int],
    ) -> None:
        self._now_ms = now_ms
        self._new_state = new_state
        self._state: S | None = None
        self.hub = hub
        self.principal = self._verified = principal
        self.claims = claims
        self.path = request.path
        self.address = request.client_ip
        self.query: Mapping[str, str] = {
            name: value for name, value in request.query_fields.items() if name not in _SECRET_FIELDS
        }
        self.headers: Mapping[str, str] = dict(_without_token(request))

    def __repr__(self) -> str:
        return f"ConnectRequest({self.path!r}, principal={self.principal!r})"

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name; of several with one name the first, which is for the longest path (RFC 6265)."""
        found: dict[str, str] = {}
        for part in self.headers.get("cookie", "").split(";"):
            name, is_one, value = part.strip().partition("=")
            if is_one:
                found.setdefault(name.strip(), value.strip().strip('"'))
        return found

    @property
    def state(self) -> S:
        """What `ctx.state` will be."""
        if self._state is None:
            self._state = self._new_state()
        return self._state

    @state.setter
    def state(self, state: S) -> None:
        self._state = state

    def log_in(
        self,
        user_id: str,
        *,
        valid_s: float = DEFAULT_VALID_S,
        is_guest: bool = False,
        session_id: str | None = None,
        scopes: Collection[str] = (),
        rooms: Collection[RoomGrant] | None = None,
    ) -> None:
        """Let the client in as this user, for `valid_s` seconds unless an `auth_refresh` prolongs that.

        `session_id` pins it to one session; `rooms` are those that it may join, as the claim of that name has them, and
        None leaves that to the app and the profile. With a token it is revoked as that token is, without one as if it
        were issued now. Raises ValueError for an id that is not 1 to 256 characters of text.
        """
        if not 0 < len(user_id) <= _MAX_USER_ID or not _is_text(user_id):
            raise ValueError(f"a user id is 1 to {_MAX_USER_ID} characters of text, not {user_id!r:.80}")
        now_ms, verified = self._now_ms(), self._verified
        self.principal = Principal(
            user_id,
            is_guest,
            now_ms + int(valid_s * 1000),
            session_id,
            frozenset(scopes),
            None if rooms is None else tuple(rooms),
            token_id=None if verified is None else verified.token_id,
            issued_at_ms=now_ms if verified is None else verified.issued_at_ms,
        )

    def refuse(
        self, message: str = "", *, code: ErrorCode | AppErrorCode = ErrorCode.FORBIDDEN, close_code: int | None = None
    ) -> NoReturn:
        """Refuse the client: it gets an `error` of this code and message, then it is closed.

        `code` is an ErrorCode or one that the app has declared. The close code is 4001 for a code about tokens and
        sessions, 1013 (come back later) for one that is retryable, else 1008 (stay away). Raises UnsendableError for a
        close code that no frame may carry.
        """
        if close_code is not None:
            check_close(close_code, "")
        raise ConnectRefusedError(code, message, close_code)


def _without_token(request: HandshakeRequest) -> Iterator[tuple[str, str]]:
    for name, values in request.headers.items():
        value = ("; " if name == "cookie" else ", ").join(values)
        if name == "authorization" and value.partition(" ")[0].lower() == "bearer":
            continue
        if name == "sec-websocket-protocol":
            value = ", ".join(item for item in request.header_items(name) if not request.is_token(item))
        yield name, value


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

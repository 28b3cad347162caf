"""Revoked tokens and users: what is asked for, what is kept of it and for how long, and whom it covers (section 3)."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from wscore.guest import is_guest_id
from wscore.principal import Principal
from wscore.tokens import LEEWAY_S, MAX_EXP_S, MAX_NAME_LENGTH

MAX_REVOCATIONS: Final = 100_000
DEFAULT_KEPT_MS: Final = 30 * 24 * 60 * 60 * 1000
# Behind the end that was asked for: a token is accepted on the leeway until then, and clocks differ.
GRACE_MS: Final = 2 * LEEWAY_S * 1000
MAX_AHEAD_MS: Final = LEEWAY_S * 1000
MAX_JTI_LENGTH: Final = 8192  # of a whole token
ENTRY_BYTES: Final = 400  # what one takes here, whatever it names
_EARLIEST_MS: Final = 946_684_800_000  # the year 2000: what lies before is a time in seconds
_DIGEST_BYTES: Final = 16

_TOKEN, _USER, _OLDER, _ALL_OLDER = b"t", b"u", b"b", b"a"  # how the key of an entry begins


class Revocation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Which tokens are worth nothing any more: one of three.

    `jti`: the token that has this claim. `user_id`: all tokens of a user, those of later too, or with
    `issued_before_ms` those that were issued before then. `issued_before_ms` alone: all tokens issued before then,
    whoever has them. A token that does not say when it was issued counts as issued before.

    `is_guest` says whether `user_id` is a guest's, where its form should not tell. It is kept until `expires_at_ms`, at
    least until the last of these tokens has expired by itself; 30 days unless given. Times are wall-clock ms since the
    epoch. Raises ValueError for what names nothing, or cannot be meant.
    """

    jti: str | None = None
    user_id: str | None = None
    is_guest: bool | None = None
    issued_before_ms: int | None = None
    expires_at_ms: int | None = None

    def __post_init__(self) -> None:
        if self.jti is not None and (self.user_id is not None or self.issued_before_ms is not None):
            raise ValueError("a jti names one token: leave out user_id and issued_before_ms")
        if self.jti is None and self.user_id is None and self.issued_before_ms is None:
            raise ValueError("a revocation needs a jti, a user_id or issued_before_ms")
        if self.is_guest is not None and self.user_id is None:
            raise ValueError("is_guest says something about a user_id, and there is none")
        if self.jti is not None and not 0 < len(self.jti) <= MAX_JTI_LENGTH:
            raise ValueError(f"a jti has 1 to {MAX_JTI_LENGTH} characters")
        if self.user_id is not None and not 0 < len(self.user_id) <= MAX_NAME_LENGTH:
            raise ValueError(f"a user_id has 1 to {MAX_NAME_LENGTH} characters")
        if self.is_guest and not is_guest_id(self.user_id or ""):
            raise ValueError("the user_id of a guest is guest_{uuid4}, in lower case")
        for name, value in (("issued_before_ms", self.issued_before_ms), ("expires_at_ms", self.expires_at_ms)):
            if value is not None and not _EARLIEST_MS <= value <= MAX_EXP_S * 1000:
                raise ValueError(f"{name} is a time in milliseconds since 1970, from the year 2000 to 9999")

    def expires_at(self, now_ms: int) -> int:
        """Return until when it is in force, asked for at `now_ms`."""
        return now_ms + DEFAULT_KEPT_MS if self.expires_at_ms is None else self.expires_at_ms


class RevokedEntry(NamedTuple):
    """One revocation as it is kept: whom it names as a digest, so it takes the same room whatever that is.

    Two with one key are one that covers what either does. Wall-clock ms; `until_ms` is when it may be forgotten.
    """

    key: bytes
    issued_before_ms: int
    until_ms: int

    def covers(self, other: RevokedEntry | None) -> bool:
        """Whether it says all that another one says with the same key."""
        return other is None or (self.issued_before_ms >= other.issued_before_ms and self.until_ms >= other.until_ms)

    def joined(self, other: RevokedEntry) -> RevokedEntry:
        """Return what two with the same key say together."""
        return RevokedEntry(
            self.key, max(self.issued_before_ms, other.issued_before_ms), max(self.until_ms, other.until_ms)
        )


def entry_of(asked: Revocation, now_ms: int) -> RevokedEntry:
    """Return what is kept of what is asked for at `now_ms`; raises ValueError for times that have no effect by then."""
    if asked.issued_before_ms is not None and asked.issued_before_ms > now_ms + MAX_AHEAD_MS:
        raise ValueError("issued_before_ms lies in the future; name a user to refuse tokens that are not there yet")
    if asked.expires_at_ms is not None and asked.expires_at_ms <= now_ms:
        raise ValueError("expires_at_ms lies in the past, so nothing would be revoked")
    until_ms = asked.expires_at(now_ms) + GRACE_MS
    if asked.jti is not None:
        return RevokedEntry(_token_key(asked.jti), 0, until_ms)
    before_ms = asked.issued_before_ms or 0
    if asked.user_id is None:
        return RevokedEntry(_ALL_OLDER, before_ms, until_ms)
    is_guest = is_guest_id(asked.user_id) if asked.is_guest is None else asked.is_guest
    user = _user_digest(asked.user_id, is_guest=is_guest)
    return RevokedEntry((_OLDER if before_ms else _USER) + user, before_ms, until_ms)


class Revocations:
    """All that is revoked. Whether a principal is takes the same time however many there are.

    It only grows wider by what it is given, whatever the order, until that may be forgotten.
    """

    __slots__ = ("_all_older", "_by_key", "_ends", "_older", "_tokens", "_users")

    def __init__(self) -> None:
        self._by_key: dict[bytes, RevokedEntry] = {}
        self._ends: list[tuple[int, bytes]] = []  # a heap; an entry that was prolonged is in it again
        self._tokens = self._users = self._older = self._all_older = 0  # how many there are of each kind

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def size(self) -> int:
        """What all of them take, in bytes."""
        return len(self._by_key) * ENTRY_BYTES

    def has_room_for(self, entry: RevokedEntry) -> bool:
        """Whether another one may be asked for: what is known already takes no room."""
        return len(self._by_key) < MAX_REVOCATIONS or entry.key in self._by_key

    def entries(self) -> dict[bytes, RevokedEntry]:
        """Return all of them by their keys, to be kept and changed by the caller."""
        return dict(self._by_key)

    def add(self, entries: Iterable[RevokedEntry]) -> bool:
        """Add what is not known yet; returns whether anybody may be revoked now who was not before."""
        is_news = False
        for entry in entries:
            known = self._by_key.get(entry.key)
            if known is not None:
                if known.covers(entry):
                    continue
                entry = known.joined(entry)
            else:
                self._count(entry.key, 1)
            is_news = is_news or known is None or entry.issued_before_ms != known.issued_before_ms
            self._by_key[entry.key] = entry
            heapq.heappush(self._ends, (entry.until_ms, entry.key))
        if len(self._ends) > 2 * len(self._by_key) + 64:
            self._ends = [(entry.until_ms, key) for key, entry in self._by_key.items()]
            heapq.heapify(self._ends)
        return is_news

    def expire(self, now_ms: int) -> None:
        """Forget those whose tokens have all expired by themselves."""
        ends = self._ends
        while ends and ends[0][0] <= now_ms:
            _, key = heapq.heappop(ends)
            entry = self._by_key.get(key)
            if entry is not None and entry.until_ms <= now_ms:
                del self._by_key[key]
                self._count(key, -1)

    def is_revoked(self, principal: Principal) -> bool:
        """Tell whether the token of a principal is worth nothing any more."""
        if not self._by_key:
            return False
        if self._tokens and principal.token_id is not None and _token_key(principal.token_id) in self._by_key:
            return True
        if self._all_older and _is_older(principal, self._by_key.get(_ALL_OLDER)):
            return True
        if not self._users and not self._older:
            return False
        user = _user_digest(principal.user_id, is_guest=principal.is_guest)
        return _USER + user in self._by_key or _is_older(principal, self._by_key.get(_OLDER + user))

    def _count(self, key: bytes, change: int) -> None:
        kind = key[:1]
        if kind == _TOKEN:
            self._tokens += change
        elif kind == _USER:
            self._users += change
        elif kind == _OLDER:
            self._older += change
        else:
            self._all_older += change


def _is_older(principal: Principal, entry: RevokedEntry | None) -> bool:
    if entry is None:
        return False
    return principal.issued_at_ms is None or principal.issued_at_ms < entry.issued_before_ms


def _token_key(jti: str) -> bytes:
    return _TOKEN + _digest(b"", jti)


def _user_digest(user_id: str, *, is_guest: bool) -> bytes:
    return _digest(b"guest" if is_guest else b"user", user_id)


def _digest(kind: bytes, text: str) -> bytes:
    # Half a surrogate pair can stand in a JWT's claim, as an escape.
    data = text.encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES, person=kind).digest()

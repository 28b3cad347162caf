"""Requests that may be sent twice and are done once: the first answer is kept for a while (design section 14)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from wscore.operations import ApiErrorCode
from wsserver.operations.problems import ApiError

KEPT_S: Final = 600.0
MAX_KEYS: Final = 100_000
MAX_BYTES: Final = 32 << 20
KEY_BYTES: Final = 900  # what is kept of a request besides its answer
EXPIRED_AT_ONCE: Final = 100  # with each new key: those of ten minutes do not go in one turn of the event loop
_KEY: Final = re.compile(r"[!-~]{1,64}")
# What was certainly not done may be done at the next try.
RETRYABLE: Final = (ApiErrorCode.NOT_READY, ApiErrorCode.NOT_PUBLISHED, ApiErrorCode.BUSY)


class Kept(NamedTuple):
    """An answer: its status and its body; it is not kept if all of it `may_be_retried`."""

    status: int
    body: bytes
    may_be_retried: bool = False


class _Claim:
    """A key that was used, and the answer once it is there."""

    __slots__ = ("answer", "digest", "size", "until_s")

    def __init__(self, digest: bytes, until_s: float, answer: asyncio.Future[Kept]) -> None:
        self.digest = digest
        self.until_s = until_s
        self.answer = answer
        self.size = KEY_BYTES


class Idempotency:
    """Answers by key. `now_s` is monotonic. Of too many the oldest are let go of, whose answers are known."""

    __slots__ = ("_claims", "_now_s", "used")

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._claims: OrderedDict[tuple[str, str, str], _Claim] = OrderedDict()
        self._now_s = now_s
        self.used = 0

    async def once(
        self,
        operator: str,
        route: str,
        key: str,
        body: bytes,
        act: Callable[[], Awaitable[Kept]],
        code: Callable[[ApiError], Kept],
    ) -> Kept:
        """Return what `act` answers, or has answered to the same request; `code` makes an answer of an error.

        Raises ApiError for a key that cannot be, and for one that another request has used.
        """
        if not _KEY.fullmatch(key):
            raise ApiError(ApiErrorCode.INVALID_REQUEST, "An Idempotency-Key is 1 to 64 visible characters of ASCII.")
        place = (operator, route, key)
        digest = hashlib.sha256(body).digest()
        self._expire()
        claim = self._claims.get(place)
        if claim is not None and claim.until_s <= self._now_s() and claim.answer.done():
            self._drop(place)
            claim = None
        if claim is not None:
            if claim.digest != digest:
                raise ApiError(ApiErrorCode.CONFLICT, "This Idempotency-Key was used with another body.")
            return await asyncio.shield(claim.answer)
        claim = _Claim(digest, self._now_s() + KEPT_S, asyncio.get_running_loop().create_future())
        self._claims[place] = claim
        self.used += claim.size
        return await self._run(place, claim, act, code)

    async def _run(
        self,
        place: tuple[str, str, str],
        claim: _Claim,
        act: Callable[[], Awaitable[Kept]],
        code: Callable[[ApiError], Kept],
    ) -> Kept:
        try:
            answer = await act()
        except ApiError as error:
            answer = code(error)
        except BaseException:
            unknown = ApiError(ApiErrorCode.UNKNOWN_OUTCOME, "The server failed; nobody knows whether it is done.")
            claim.answer.set_result(code(unknown))
            raise
        claim.answer.set_result(answer)
        if answer.may_be_retried:
            self._drop(place)
        if self._claims.get(place) is claim:
            claim.size += len(answer.body)
            self.used += len(answer.body)
        return answer

    def _expire(self) -> None:
        now_s = self._now_s()
        for _ in range(EXPIRED_AT_ONCE):
            if not self._claims:
                return
            place, oldest = next(iter(self._claims.items()))
            is_full = len(self._claims) >= MAX_KEYS or self.used > MAX_BYTES
            if oldest.until_s > now_s and not is_full:
                return
            if not oldest.answer.done():
                raise ApiError(ApiErrorCode.BUSY, "Too many requests wait for their answers; try it again.")
            self._drop(place)

    def _drop(self, place: tuple[str, str, str]) -> None:
        claim = self._claims.pop(place, None)
        if claim is not None:
            self.used -= claim.size

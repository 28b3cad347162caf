"""Where a client's tokens come from; a source is asked afresh before every connection."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Protocol

from wscore.guest import mint_guest_token


class TokenSource(Protocol):
    """Gives the token for the next connection."""

    async def __call__(self) -> str:
        """Return a token, a new one where possible; empty for none."""


class StaticToken:
    """Always the same token; a client gives up once the server refused it."""

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = token

    async def __call__(self) -> str:
        """Return the token."""
        return self._token


class NoToken:
    """None at all: something else says who connects, such as a cookie, or the server asks nobody."""

    __slots__ = ()

    async def __call__(self) -> str:
        """Return no token."""
        return ""


class GuestTokens:
    """Mints guest tokens: one guest for the life of the source, a fresh timestamp each time; signed with a secret."""

    __slots__ = ("_now_ms", "_secret", "_uuid")

    def __init__(self, now_ms: Callable[[], int], secret: bytes | None = None) -> None:
        self._uuid = uuid.uuid4()
        self._now_ms = now_ms
        self._secret = secret

    async def __call__(self) -> str:
        """Return a guest token of this moment."""
        return mint_guest_token(self._uuid, self._now_ms(), self._secret)

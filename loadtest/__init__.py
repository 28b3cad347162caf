"""The load tester; `from loadtest import EnvelopeUser` is the Locust user for your own scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadtest.driver.user import EnvelopeUser
    from wscore.message import Message

__all__ = ["EnvelopeUser", "Message"]


def __getattr__(name: str) -> Any:
    # Locust patches the process that imports it, so only who asks for the user gets it.
    if name in __all__:
        from loadtest.driver import user

        return getattr(user, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

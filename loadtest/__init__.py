"""The load tester; `from loadtest import EnvelopeUser, RawUser` are the Locust users for your own scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadtest.driver.rawuser import RawUser
    from loadtest.driver.user import EnvelopeUser
    from wscore.message import Message

__all__ = ["EnvelopeUser", "Message", "RawUser"]


def __getattr__(name: str) -> Any:
    # Locust patches the process that imports it, so only who asks for the user gets it.
    if name in __all__:
        from loadtest.driver import rawuser, user

        return getattr(rawuser if name == "RawUser" else user, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Where a server's webhooks go, with which events and which keys; none of that shows in a repr."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from wscore.errors import ConfigError
from wsserver.trusting import trusting_context
from wsserver.webhooks.signing import SigningKeys

DEFAULT_WEBHOOK_MEMORY: Final = 16 << 20
MIN_WEBHOOK_MEMORY: Final = 64 << 10
MAX_TARGETS: Final = 8
MAX_ASKED: Final = 100  # clients about whom a backend is asked at once
MAX_WAITING: Final = 2000  # these, and those who wait for their turn
MAX_ASKED_OF_ADDRESS: Final = MAX_ASKED // 4  # so that one that connects and leaves does not keep the others out
MAX_WAITING_OF_ADDRESS: Final = MAX_WAITING // 4
# What the resolver takes; one of IPv6 stands in brackets, which urlsplit has checked.
_HOST: Final = re.compile(r"(?=.{1,254}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_SHAPE: Final = "write it like https://backend.example/hooks"


class WebhookEvent(StrEnum):
    """What a backend can be told of."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    ROOM_OCCUPIED = "room_occupied"
    ROOM_VACATED = "room_vacated"
    JOINED = "joined"
    LEFT = "left"


class HookUrl:
    """An http or https URL that is posted to; its `option` and `number` are what logs and errors call it."""

    __slots__ = ("number", "option", "url")

    def __init__(self, option: str, url: str, number: int = 1) -> None:
        """Raises ConfigError, which shows nothing of it, for what nothing can be posted to."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ConfigError(option, "is not a URL", _SHAPE) from None
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(option, "is not an http or https URL", _SHAPE)
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ConfigError(option, "is not plain ASCII", "write the host in punycode, and the rest percent-encoded")
        if port == 0 or (":" not in host and not _HOST.fullmatch(host)):
            raise ConfigError(option, "has a host or a port that nobody can have", _SHAPE)
        if parts.username is not None or parts.fragment:
            raise ConfigError(
                option, "has a user or a fragment", "leave it out: the signature says who asks, see docs/webhooks.md"
            )
        if parts.scheme == "https":
            trusting_context()  # before anybody is asked or told: what is wrong with it is wrong for good
        self.option = option
        self.number = number
        self.url = url

    def __repr__(self) -> str:
        return f"HookUrl({self.option!r}, {self.number})"


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Targets that are told of events, within `memory` bytes for what waits to be sent; raises ConfigError."""

    targets: Sequence[HookUrl]
    keys: SigningKeys
    events: frozenset[WebhookEvent] = frozenset(WebhookEvent)
    memory: int = DEFAULT_WEBHOOK_MEMORY

    def __post_init__(self) -> None:
        if len(self.targets) > MAX_TARGETS:
            raise ConfigError("--webhook", f"more than {MAX_TARGETS} targets", "let one of them tell the others")
        urls = [target.url for target in self.targets]
        for target in self.targets:
            if urls.count(target.url) > 1:
                raise ConfigError("--webhook", f"target {target.number} is given twice", "give each URL once")
        if self.memory < MIN_WEBHOOK_MEMORY:
            raise ConfigError("--webhook-memory", "less than 64KiB holds too few events")


@dataclass(frozen=True, slots=True)
class ConnectingSettings:
    """The backend that decides who may connect, and what its requests are signed with."""

    target: HookUrl
    keys: SigningKeys


def events_of(text: str) -> frozenset[WebhookEvent]:
    """Return the events that a list with commas names; raises ConfigError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = ", ".join(WebhookEvent)
    if not names:
        raise ConfigError("--webhook-events", "names no event", f"there are {known}")
    for name in names:
        if name not in tuple(WebhookEvent):
            raise ConfigError("--webhook-events", f"there is no event {name!r:.40}", f"there are {known}")
    return frozenset(map(WebhookEvent, names))

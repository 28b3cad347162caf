"""Which trace a message belongs to, as W3C Trace Context writes it; only what is well-formed is read or passed on."""

from __future__ import annotations

import re
from typing import Final

import msgspec

_QUOTED: Final = re.compile(rb'"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"')


def read_traceparent(raw: msgspec.Raw) -> str | None:
    """Return the traceparent that an envelope's field holds; None for one that is absent or malformed."""
    quoted = bytes(raw)
    return quoted[1:-1].decode() if _QUOTED.fullmatch(quoted) else None


def passed_on(raw: msgspec.Raw) -> object:
    """Return what goes on to the receivers: the field as it came, or nothing."""
    return raw if _QUOTED.fullmatch(bytes(raw)) else msgspec.UNSET

"""What an app has declared of the messages that it sends, held against what it does send: in the dev profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from wscore.envelope import NO_DATA, InvalidMessageError, UnsendableError
from wscore.jsonvalues import plain_of
from wsserver.sdk.datatypes import Reader, reader_of


class DeclaredTypes:
    """Looks at data before it is sent; raises UnsendableError for what is not of the type that was declared.

    `sends` are types of data by the message's type, `replies` by the type of the message that is answered.
    """

    __slots__ = ("_replies", "_sends")

    def __init__(self, sends: Mapping[str, Any], replies: Mapping[str, Any]) -> None:
        self._sends = {type: reader_of(kind, type) for type, kind in sends.items()}
        self._replies = {type: reader_of(kind, type) for type, kind in replies.items()}

    def check_sent(self, type: str, data: object) -> None:
        """Check what is sent or published."""
        reader = self._sends.get(type)
        if reader is not None:
            _check(reader, repr(type), data)

    def check_reply(self, answered: str | None, data: object) -> None:
        """Check what answers a message of this type; None in a hook."""
        reader = None if answered is None else self._replies.get(answered)
        if reader is not None:
            _check(reader, f"the reply to {answered!r}", data)


def _check(reader: Reader, what: str, data: object) -> None:
    if data is msgspec.UNSET:
        slice = NO_DATA
    elif isinstance(data, msgspec.Raw):
        slice = data
    else:
        slice = msgspec.Raw(msgspec.json.encode(data, enc_hook=plain_of))
    try:
        reader(slice, None)
    except InvalidMessageError as error:
        raise UnsendableError(what, f"its data is not what the app has declared: {error.reason}") from None

"""How bytes are written in a line of text."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from wscore.errors import ConfigError
from wscore.foreign.binary import base64_of, bytes_of_base64, bytes_of_hex

REFUSED_BINARY: Final = "a wsctl server takes no binary frames: it would close with 1003"


class Binary(StrEnum):
    """The form of lines that stand for binary frames; none of them does."""

    NONE = "text"
    HEX = "hex"
    BASE64 = "base64"

    def read(self, line: str, place: str) -> bytes:
        """Return the bytes of a line; raises ConfigError naming `place`."""
        if self is Binary.NONE:
            raise ConfigError(place, "is text, not bytes")
        return bytes_of_hex(line, place) if self is Binary.HEX else bytes_of_base64(line, place)

    def write(self, data: bytes) -> str:
        """Return bytes as a line, as hex if nothing else is said."""
        return base64_of(data) if self is Binary.BASE64 else data.hex(" ")

"""Binary frames for people: hex and ASCII, and the value inside where it is MessagePack or CBOR."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, NoReturn

import msgspec

from wscore.errors import ConfigError

BYTES_A_LINE: Final = 16
MAX_DECODED_BYTES: Final = 1 << 20  # of a larger frame nobody reads the value, and decoding would hold everything up

_PRINTABLE: Final = bytes(code if 32 <= code < 127 else ord(".") for code in range(256))


def hex_dump(data: bytes, most: int | None = None) -> str:
    """Return offset, hex and ASCII in lines of 16 bytes, as `hexdump -C` has them; of at most `most` bytes."""
    shown = data if most is None else data[:most]
    lines = []
    for start in range(0, len(shown), BYTES_A_LINE):
        part = shown[start : start + BYTES_A_LINE]
        lines.append(f"{start:08x}  {part.hex(' '):<47}  |{part.translate(_PRINTABLE).decode('ascii')}|")
    if len(shown) < len(data):
        lines.append(f"… {len(data) - len(shown):,} bytes more")
    return "\n".join(lines)


def bytes_of_hex(text: str, place: str) -> bytes:
    """Return the bytes of hex digits, with or without spaces, colons or 0x; raises ConfigError naming `place`."""
    digits = "".join(text.lower().replace("0x", " ").replace(":", " ").replace(",", " ").split())
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise ConfigError(place, "is not hex", 'write two digits for each byte, such as "01 ff"') from None


def bytes_of_base64(text: str, place: str) -> bytes:
    """Return the bytes of base64, also of its form for URLs and without padding; raises ConfigError naming `place`."""
    compact = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(place, "is not base64") from None


def base64_of(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def decoded(data: bytes) -> tuple[str, bytes] | None:
    """Return `msgpack` or `cbor` and the value as JSON, None for bytes that are neither.

    Only a list or a map that takes up all the bytes is believed: nearly any byte is a number in both.
    """
    if not 1 <= len(data) <= MAX_DECODED_BYTES:
        return None
    for name, decode, starts in (("msgpack", _msgpack, _MSGPACK), ("cbor", _cbor, _CBOR)):
        if data[0] not in starts:
            continue
        try:
            value = decode(data)
            if isinstance(value, dict | list):
                return name, msgspec.json.encode(_keyed(value))
        except Exception:  # noqa: S112  whatever a library raises for bytes of another kind: they are not of this one
            continue
    return None


# The first byte of a list or a map; CBOR may begin with its tag 55799, "this is CBOR".
_MSGPACK: Final = frozenset((*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF))
_CBOR: Final = frozenset((*range(0x80, 0x9C), 0x9F, *range(0xA0, 0xBC), 0xBF, 0xD9))

# Tags that repeat a text or a value by its number: a frame of 200 bytes can say 250 MiB with them.
_REFERENCES: Final = (25, 29)


def _msgpack(data: bytes) -> Any:
    return msgspec.msgpack.decode(data)


def _cbor(data: bytes) -> Any:
    import io

    import cbor2  # loaded by who sees such a frame, and by nobody else

    stream = io.BytesIO(data)
    value = cbor2.load(stream, semantic_decoders=dict.fromkeys(_REFERENCES, _refuse))
    if stream.read(1):
        raise ValueError("there is more")
    return value


def _refuse(*_: object) -> NoReturn:
    raise ValueError("a reference")


def _keyed(value: Any) -> Any:
    """Return a value as JSON can hold it: bytes become base64, keys that are no text become text, others their text."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _keyed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_keyed(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return base64_of(bytes(value))
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)

"""What goes over the backplane: what a group's members publish in one turn of the event loop is one batch.

A batch is a row of items, each `flags (1) · size of a name (1) · size of the payload (4) · name · payload`; the name is
of a connection that is left out, and of the one that it goes on as. What a subscription brings is the row behind
`epoch:first:count:`.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

import msgspec

NUMBERED: Final = 1  # takes a seq and is kept
LOSSY: Final = 2  # a slow reader may miss it
_ITEM: Final = Struct(">BBI")
ITEM_BYTES: Final = _ITEM.size


# A struct, since each message makes one: a frozen dataclass takes four times as long.
class Item(msgspec.Struct, frozen=True, gc=False):
    """One message of a batch.

    `without` is the connection that must not get it, `origin` the one that it goes on as; both are empty for none.
    """

    payload: bytes
    is_numbered: bool
    is_lossy: bool = False
    without: str = ""
    origin: str = ""


class Batch(msgspec.Struct, frozen=True, gc=False):
    """What was published to a group in one go: its numbered items have `first`, `first + 1` and so on as their seq."""

    epoch: str
    first: int
    items: tuple[Item, ...]


class CorruptBatchError(ValueError):
    """What came over the backplane is no batch of ours."""


def pack_item(item: Item) -> bytes:
    """Write one item."""
    name = f"{item.without} {item.origin}".encode() if item.without or item.origin else b""
    flags = (NUMBERED if item.is_numbered else 0) | (LOSSY if item.is_lossy else 0)
    return _ITEM.pack(flags, len(name), len(item.payload)) + name + item.payload


def read_items(packed: bytes, at: int = 0) -> list[Item]:
    """Read a row of items from a place on; raises CorruptBatchError."""
    items: list[Item] = []
    length = len(packed)
    while at < length:
        if at + ITEM_BYTES > length:
            raise CorruptBatchError("it ends in the middle of an item")
        flags, name_size, size = _ITEM.unpack_from(packed, at)
        at += ITEM_BYTES
        end = at + name_size + size
        if end > length or flags > NUMBERED | LOSSY:
            raise CorruptBatchError("an item is longer than what came, or of no known kind")
        without = origin = ""
        if name_size:
            try:
                without, _, origin = packed[at : at + name_size].decode().partition(" ")
            except UnicodeDecodeError:
                raise CorruptBatchError("the name of a connection is no text") from None
        items.append(Item(packed[at + name_size : end], bool(flags & NUMBERED), bool(flags & LOSSY), without, origin))
        at = end
    return items


def read_batch(published: bytes) -> Batch:
    """Read what a subscription brought; raises CorruptBatchError."""
    try:
        epoch, first, count, _ = published.split(b":", 3)
        place = len(epoch) + len(first) + len(count) + 3
        items = tuple(read_items(published, place))
        batch = Batch(epoch.decode("ascii"), int(first), items)
        claimed = int(count)
    except CorruptBatchError:
        raise
    except ValueError as error:
        raise CorruptBatchError(str(error)) from None
    if claimed != sum([item.is_numbered for item in items]):
        raise CorruptBatchError("it has another number of items than it says")
    return batch

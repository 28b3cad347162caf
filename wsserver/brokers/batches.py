"""What goes over the backplane: what a group's members publish in one turn of the event loop is one batch.

A batch is a row of items, each `flags (1) · size of a name (1) · size of the payload (4) · name · payload`; the name is
of a connection that is left out, and of the one that it goes on as. What a subscription brings is the row behind
`epoch:first:count:`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from struct import Struct
from typing import Final

import msgspec

NUMBERED: Final = 1  # takes a seq and is kept
LOSSY: Final = 2  # a slow reader may miss it
_ITEM: Final = Struct(">BBI")
ITEM_BYTES: Final = _ITEM.size
_ID: Final = re.compile(r"[!-~]{1,128}")  # that of a connection fits, with what it goes on as, and has no space in it
_PLAIN: Final = 1024
# The heads of usual items by their size: looked up, since to pack one costs as much as to copy it.
_PLAIN_HEADS: Final = tuple(_ITEM.pack(NUMBERED, 0, size) for size in range(_PLAIN))


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
    """What was published to a group in one go: `numbered` items have `first`, `first + 1` ... as their seq."""

    epoch: str
    first: int
    numbered: int
    items: Sequence[Item]


class CorruptBatchError(ValueError):
    """What came over the backplane is no batch of ours."""


def pack_head(size: int, flags: int, without: str | None = None, origin: str | None = None) -> bytes:
    """Write what stands before a payload of so many bytes; `flags` are NUMBERED and LOSSY.

    A `without` that no connection can have as its id leaves out nobody.
    """
    if without is not None and not _ID.fullmatch(without):
        without = origin = None  # who is not here goes on as itself
    if without is None and origin is None:
        return _PLAIN_HEADS[size] if flags == NUMBERED and size < _PLAIN else _ITEM.pack(flags, 0, size)
    name = f"{without or ''} {origin or ''}".encode()
    return _ITEM.pack(flags, len(name), size) + name


def pack_item(item: Item) -> bytes:
    """Write one item."""
    flags = (NUMBERED if item.is_numbered else 0) | (LOSSY if item.is_lossy else 0)
    return pack_head(len(item.payload), flags, item.without or None, item.origin or None) + item.payload


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
        if flags == NUMBERED and not name_size:  # nearly all are
            items.append(Item(packed[at:end], True))
        else:
            items.append(_special(packed[at : at + name_size], packed[at + name_size : end], flags))
        at = end
    return items


def _special(name: bytes, payload: bytes, flags: int) -> Item:
    try:
        without, _, origin = name.decode().partition(" ")
    except UnicodeDecodeError:
        raise CorruptBatchError("the name of a connection is no text") from None
    return Item(payload, bool(flags & NUMBERED), bool(flags & LOSSY), without, origin)


def read_batch(published: bytes) -> Batch:
    """Read what a subscription brought; raises CorruptBatchError."""
    try:
        epoch, first, count, packed = published.split(b":", 3)
        size = len(packed) - ITEM_BYTES
        if count == b"1" and 0 <= size < _PLAIN and packed.startswith(_PLAIN_HEADS[size]):  # one alone, as most are
            return Batch(epoch.decode(), int(first), 1, (Item(packed[ITEM_BYTES:], True),))
        items = read_items(packed)
        batch = Batch(epoch.decode(), int(first), int(count), items)
        if batch.numbered != sum([item.is_numbered for item in items]):
            raise CorruptBatchError("it has another number of items than it says")
        return batch
    except CorruptBatchError:
        raise
    except ValueError as error:
        raise CorruptBatchError(str(error)) from None

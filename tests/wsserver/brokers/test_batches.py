"""What goes over the backplane is read as it was written, and what is none of ours is refused."""

from __future__ import annotations

import pytest

from wsserver.brokers.batches import CorruptBatchError, Item, pack_item, read_batch

USUAL = Item(b"hello", True)


@pytest.mark.parametrize(
    "items",
    [
        *([Item(b"x" * size, True)] for size in (0, 1, 5, 255, 256, 1023, 1024, 70_000)),
        [Item(b"hello", False)],
        [Item(b"hello", True, is_lossy=True)],
        [Item(b"hello", True, without="c1")],
        [Item(b"hello", False, is_lossy=True, without="c1", origin="é")],
        [USUAL, USUAL],
        [USUAL, Item(b":::", False), Item(b"\x01\x00\x00\x00\x00\x05", True, origin="o1")],
        [],
    ],
    ids=lambda items: f"{len(items)} {len(items[0].payload) if items else ''}",
)
def test_a_batch_is_read_as_it_was_written(items):
    numbered = sum(item.is_numbered for item in items)
    batch = read_batch(b"epoch:7:%d:%b" % (numbered, b"".join(map(pack_item, items))))
    assert (batch.epoch, batch.first, batch.numbered, list(batch.items)) == ("epoch", 7, numbered, items)


@pytest.mark.parametrize(
    "published",
    [
        b"",
        b"epoch:7",
        b"epoch:x:1:" + pack_item(USUAL),
        b"epoch:7:x:" + pack_item(USUAL),
        b"epoch:7:0:" + pack_item(USUAL),
        b"epoch:7:2:" + pack_item(USUAL),
        b"epoch:7:1:" + pack_item(USUAL)[:-1],
        b"epoch:7:1:" + pack_item(USUAL) + b"\x01",
        b"epoch:7:1:" + b"\x07" + pack_item(USUAL)[1:],
        b"\xff:7:1:" + pack_item(USUAL),
        b"epoch:7:1:\x01\x01\x00\x00\x00\x00\xff",
    ],
)
def test_what_is_no_batch_is_refused(published):
    with pytest.raises(CorruptBatchError):
        read_batch(published)


@pytest.mark.parametrize("without", ["c" * 129, "c" * 1024, "ü" * 128, "\ud800", "c1 o1", "c\n1"])
def test_what_no_connection_can_be_called_leaves_out_nobody(without):
    for origin in ("", without):
        item = Item(b"hello", True, without=without, origin=origin)
        assert list(read_batch(b"epoch:7:1:" + pack_item(item)).items) == [USUAL]
    longest = Item(b"hello", True, without="c" * 128)
    assert list(read_batch(b"epoch:7:1:" + pack_item(longest)).items) == [longest]

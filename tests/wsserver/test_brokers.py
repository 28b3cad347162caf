"""What every broker keeps to: groups are subscribed to while they have members, and get what is published in order."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from wsserver.brokers.base import SESSION, PublishResult
from wsserver.brokers.memory import MemoryBroker
from wsserver.connections.groups import Groups


def connection(name: str) -> SimpleNamespace:
    return SimpleNamespace(id=name)


class Recording(MemoryBroker):
    """A broker that notes what is subscribed to."""

    __slots__ = ("subscriptions",)

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions: list[tuple[str, str]] = []

    def subscribe(self, kind, name):
        self.subscriptions.append(("subscribe", name))

    def unsubscribe(self, kind, name):
        self.subscriptions.append(("unsubscribe", name))


@pytest.fixture(params=[MemoryBroker])
def broker(request):
    return request.param()


def test_what_is_published_is_delivered_in_order_and_byte_for_byte(broker):
    delivered = []
    broker.attach(lambda *message: delivered.append(message), lambda *position: None, lambda *answer: None)
    broker.subscribe(SESSION, "room")
    assert broker.publish(SESSION, "room", b"1") == PublishResult()
    broker.publish(SESSION, "room", b"2", lossy=True, except_connection="one")
    assert delivered == [(SESSION, "room", b"1", False, None, None), (SESSION, "room", b"2", True, "one", None)]


def test_a_result_says_nothing_of_receivers():
    assert set(PublishResult.__struct_fields__) == {"epoch", "seq"}


def test_a_group_is_subscribed_to_by_its_first_member_and_left_by_its_last():
    broker = Recording()
    groups = Groups(broker)
    first, second = connection("first"), connection("second")
    room = groups.find(SESSION, "room")
    assert groups.get(SESSION, "room") is None  # nobody is in it yet
    groups.join(room, first)
    groups.join(groups.find(SESSION, "room"), second)
    assert groups.get(SESSION, "room") is room
    assert list(room.members) == ["first", "second"]
    groups.leave(room, first)
    groups.leave(room, first)  # once more does nothing
    assert broker.subscriptions == [("subscribe", "room")]
    groups.leave(room, second)
    assert broker.subscriptions == [("subscribe", "room"), ("unsubscribe", "room")]
    assert len(groups) == 0

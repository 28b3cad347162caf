"""What the metrics read from the parts of a server at a scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wscore.revocations import Revocations
from wsserver.brokers.base import GROUP_KINDS, Broker
from wsserver.connections.groups import Groups
from wsserver.connections.inbound import InboundMemory
from wsserver.connections.registry import ConnectionManager
from wsserver.connections.rooms import Rooms
from wsserver.engines.unfinished import Unfinished
from wsserver.outbound.backlog import Backlog
from wsserver.sdk.growth import Growth
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from wsserver.webhooks.sending import Webhooks


def show_numbers(
    metrics: Metrics,
    connections: ConnectionManager,
    groups: Groups,
    rooms: Rooms,
    backlog: Backlog,
    inbound: InboundMemory,
    unfinished: Unfinished,
    growth: Growth,
    broker: Broker,
    revocations: Revocations,
    webhooks: Webhooks | None,
    log: EventLog,
) -> None:
    """Have the metrics read what the parts of a server know themselves."""
    read = metrics.read
    read("wsctl_connections", "Connections that are open", "gauge", lambda: len(connections))
    metrics.read_by(
        "kind",
        "wsctl_groups",
        "Sessions, rooms and users that have a connection here",
        "gauge",
        lambda: {kind: groups.count(kind) for kind in GROUP_KINDS},
    )
    read("wsctl_room_bytes", "Bytes that memberships of rooms take", "gauge", lambda: rooms.used)
    read("wsctl_outbound_bytes", "Bytes that wait for slow readers", "gauge", lambda: backlog.used)
    read("wsctl_slow_readers", "Connections that something waits for", "gauge", lambda: backlog.readers)
    read("wsctl_inbound_bytes", "Bytes that wait for handlers", "gauge", lambda: inbound.used)
    read("wsctl_unfinished_bytes", "Bytes of messages on their way", "gauge", lambda: unfinished.used)
    read("wsctl_decoded_bytes", "Bytes that decoded messages take in handlers, about", "gauge", lambda: growth.used)
    read("wsctl_recovery_bytes", "Bytes kept for who comes back", "gauge", lambda: broker.size)
    read("wsctl_recovery_evicted_total", "Messages let go of for want of room", "counter", lambda: broker.evicted)
    read("wsctl_broker_up", "Whether the broker is reached: 1 or 0", "gauge", lambda: int(broker.is_up))
    read("wsctl_broker_waiting_bytes", "Bytes that the broker has not stored yet", "gauge", lambda: broker.waiting)
    read("wsctl_revocations", "Revocations that are kept", "gauge", lambda: len(revocations))
    read("wsctl_revocation_bytes", "Bytes that revocations take", "gauge", lambda: revocations.size)
    read("wsctl_webhook_queue_bytes", "Bytes of events to be posted", "gauge", lambda: webhooks.size if webhooks else 0)
    read("wsctl_webhook_queue_events", "Events to be posted", "gauge", lambda: webhooks.waiting if webhooks else 0)
    read("wsctl_log_lines_dropped_total", "Log lines dropped", "counter", log.dropped_lines)

"""The HTTP API of the operations port where several processes share a broker: each reaches whoever is at another."""

from __future__ import annotations

import signal

import pytest

from tests.cli.conftest import HANG_S
from tests.cli.operators import asked, operated, refused


@pytest.fixture
def ops(start_wsctl):
    """Start a server with an operations port; returns its process, a client of the port, and what makes members."""
    with operated(start_wsctl) as start:
        yield start


def test_with_workers_the_port_reaches_whoever_is_connected_wherever(ops, redis):
    _, client, member = ops("--workers", "2", "--broker", redis.url)
    people = [member("s", "lobby") for _ in range(12)]
    page = asked(client.get("connections"))
    assert ({row["id"] for row in page["connections"]}, page["missing"]) == ({person.id for person in people}, [])
    assert len({row["node"] for row in page["connections"]}) == 2
    assert asked(client.get("rooms"))["rooms"] == [{"name": "lobby", "connections": 12}]
    assert asked(client.get("presence", params={"room": "lobby"}))["users"] == sorted(p.user for p in people)
    assert asked(client.post("publish", json={"type": "n", "room": "lobby", "data": 1}))["seq"] == 1
    for person in people:
        assert person.receive("n")["data"] == 1
        for number in range(2):
            sent = asked(client.post("send", json={"connection": person.id, "type": "own", "data": number}))
            assert (sent, person.receive("own")["data"]) == ({"sent": 1, "missing": []}, number)  # and no other twice
    assert [m["data"] for m in asked(client.get("history", params={"room": "lobby"}))["messages"]] == [1]
    asked(client.delete("history", params={"room": "lobby"}))
    assert asked(client.get("history", params={"room": "lobby"})) == {"messages": []}
    assert asked(client.post("disconnect", json={"room": "lobby"})) == {"disconnected": 12, "missing": []}
    redis.stop()
    assert refused(client.post("publish", json={"type": "n", "room": "lobby"}))[1] in ("NOT_READY", "NOT_PUBLISHED")


def test_two_servers_that_share_a_broker_are_one_cluster_and_who_is_lost_is_missing_by_name(ops, redis):
    first, one, join_one = ops("--broker", redis.url)
    second, two, join_two = ops("--workers", "2", "--broker", redis.url)
    people = [join_one("s", "lobby"), *(join_two("s", "lobby") for _ in range(8))]
    for client in (one, two):
        page = asked(client.get("connections"))
        assert ({row["id"] for row in page["connections"]}, page["missing"]) == ({p.id for p in people}, [])
        assert asked(client.post("send", json={"connection": people[0].id, "type": "own"}))["sent"] == 1
    first.send_signal(signal.SIGSTOP)
    page = asked(two.get("connections"))
    assert (len(page["connections"]), [name.rpartition(":")[2] for name in page["missing"]]) == (8, [str(first.pid)])
    first.send_signal(signal.SIGCONT)
    first.send_signal(signal.SIGTERM)
    assert first.wait(HANG_S) == 0
    assert asked(two.get("connections"))["missing"] == []
    assert second.poll() is None


def test_servers_whose_broker_speaks_tls_ask_each_other_too(ops, start_redis, make_certificate):
    certificate = make_certificate("127.0.0.1")
    redis = start_redis(certificate=certificate)
    started = [ops("--broker", redis.tls_url, SSL_CERT_FILE=str(certificate.cert)) for _ in range(2)]
    people = [join("s", "lobby") for _, _, join in started for _ in range(3)]
    for (_, client, _), stranger in zip(started, reversed(people), strict=False):
        page = asked(client.get("connections", params={"limit": 4}))
        rows, cursor = page["connections"], page["next"]
        rows += asked(client.get("connections", params={"limit": 4, "cursor": cursor}))["connections"]
        assert ({row["id"] for row in rows}, page["missing"]) == ({person.id for person in people}, [])
        assert asked(client.get("rooms"))["rooms"] == [{"name": "lobby", "connections": 6}]
        assert asked(client.get("presence", params={"room": "lobby"}))["users"] == sorted(p.user for p in people)
        assert asked(client.post("send", json={"connection": stranger.id, "type": "own"}))["sent"] == 1
    seqs = [asked(client.post("publish", json={"type": "n", "room": "lobby"}))["seq"] for _, client, _ in started]
    kept = [asked(client.get("history", params={"room": "lobby"}))["messages"] for _, client, _ in started]
    assert (seqs, [[message["seq"] for message in messages] for messages in kept]) == ([1, 2], [[1, 2]] * 2)

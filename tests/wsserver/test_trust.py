"""Trusted networks and the key that a client is counted by, over addresses in every spelling."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wscore.disconnects import DisconnectError
from wscore.errors import ConfigError
from wsserver.engines.networks import TrustedNetworks, client_key, parse_ip
from wsserver.handshake.limits import ConnectionLimiter, ConnectionLimits


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
        ("127.0.0.1", "::ffff:127.0.0.1", "::1"),
        ("fe80::/10", "fe80::1%eth0", "::ffff:10.0.0.1"),
    ],
)
def test_a_network_holds_its_addresses_and_no_others(entry, inside, outside):
    networks = TrustedNetworks([entry])
    assert networks
    assert inside in networks
    assert outside not in networks
    assert None not in networks


def test_a_unix_socket_is_trusted_only_where_that_is_said():
    assert None in TrustedNetworks(["unix"])
    assert TrustedNetworks(["unix"])
    assert "127.0.0.1" not in TrustedNetworks(["unix"])
    assert None not in TrustedNetworks(["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize("peer", [None, "127.0.0.1", "::1", "", "garbage", "1.2.3.4.5"])
def test_nobody_is_trusted_by_default_and_garbage_never(peer):
    assert not TrustedNetworks()
    assert peer not in TrustedNetworks()
    if peer == "garbage":
        assert peer not in TrustedNetworks(["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize(
    ("entry", "mend"),
    [("10.1.2.3/8", r"did you mean 10\.0\.0\.0/8\?"), ("localhost", "write it as"), ("", "write it as")],
)
def test_an_entry_that_is_no_network_is_named_with_the_mend(entry, mend):
    with pytest.raises(ConfigError, match=rf"--trusted-proxy: {entry!r} is not a network; {mend}"):
        TrustedNetworks([entry])


@pytest.mark.parametrize(
    ("ip", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("not an: address", "not an: address"),
    ],
)
def test_a_client_is_counted_by_its_ipv4_address_or_its_ipv6_network(ip, key):
    assert client_key(ip) == key


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_all_addresses_of_one_ipv6_network_share_a_key(address, host):
    if address.ipv4_mapped is None:
        prefix = int(address) >> 64 << 64
        neighbour = ipaddress.IPv6Address(prefix | host)
        if neighbour.ipv4_mapped is None:
            assert client_key(str(address)) == client_key(str(neighbour))
            assert client_key(str(address)) != client_key(str(ipaddress.IPv6Address(prefix ^ 1 << 64 | host)))


@given(st.text() | st.ip_addresses().map(str))
def test_whatever_is_no_address_is_in_no_network_and_is_counted_as_it_is(text):
    address = parse_ip(text)
    assert (text in TrustedNetworks(["0.0.0.0/0", "::/0"])) is (address is not None)
    assert address is not None or client_key(text) == text


def test_the_limit_per_address_counts_an_ipv6_network_as_one_client():
    limiter = ConnectionLimiter(ConnectionLimits(per_ip=2))
    for ip in ("2001:db8::1", "2001:db8::2"):
        limiter.check_peer(ip)
        limiter.enter(ip, "ann")
    with pytest.raises(DisconnectError, match=r"^server-full: Too many connections from this address"):
        limiter.check_peer("2001:db8::3")
    limiter.check_peer("2001:db8:0:1::3")
    limiter.leave("2001:db8::1", "ann")
    limiter.check_peer("2001:db8::3")

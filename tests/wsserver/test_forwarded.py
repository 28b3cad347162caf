"""The client behind proxies: read from the right, believed from trusted peers alone, whatever else stands there."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wscore.errors import ConfigError
from wsserver import ServerSettings
from wsserver.engines.networks import TrustedNetworks
from wsserver.engines.request import HandshakeRequest
from wsserver.handshake.forwarded import ForwardedHeader, Proxies, forwarded_hops, parse_node, x_forwarded_hops

PROXY = "10.0.0.1"
TRUSTED = TrustedNetworks(["10.0.0.0/8", "fd00::/8"])
XFF, FORWARDED = ForwardedHeader


def resolved(
    header: ForwardedHeader, *headers: tuple[str, str], peer: str | None = PROXY, trusted=TRUSTED, **options: bool
) -> HandshakeRequest:
    request = HandshakeRequest("/", [("Host", "inner"), *headers])
    Proxies(trusted, header, **options).resolve(request, peer)
    return request


def client(header: ForwardedHeader, *values: str, peer: str | None = PROXY) -> str | None:
    return resolved(header, *((header.value, value) for value in values), peer=peer).client_ip


@pytest.mark.parametrize(
    ("values", "ip"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["203.0.113.9, 192.0.2.7"], "192.0.2.7"),  # what stands on the left anybody can write
        (["203.0.113.9,192.0.2.7,10.0.0.3, 10.0.0.2"], "192.0.2.7"),
        (["203.0.113.9", "192.0.2.7", "10.0.0.3"], "192.0.2.7"),  # lines are one list
        (["10.0.0.9, 10.0.0.3"], "10.0.0.9"),  # all of them proxies: the farthest made the request
        (["192.0.2.7:4711"], "192.0.2.7"),
        (["2001:DB8::7"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        ([" \t192.0.2.7\t "], "192.0.2.7"),
        (["192.0.2.7, fd00::1"], "192.0.2.7"),
        ([], PROXY),
        ([""], PROXY),
        (["192.0.2.7,"], PROXY),
        (["unknown"], PROXY),
        (["192.0.2.7, unknown"], PROXY),
        (["192.0.2.7, _hidden, 10.0.0.2"], "10.0.0.2"),  # the nearest that is known
        (["192.0.2.7, unix:"], PROXY),
        (["1.2.3.4.5"], PROXY),
        (["127.1"], PROXY),
        (["01.2.3.4"], PROXY),
        (["192.0.2.7:port"], PROXY),
        (["192.0.2.7:123456"], PROXY),
        (["fe80::1%eth0"], PROXY),
        (["[192.0.2.7"], PROXY),
        (["\u0661.2.3.4"], PROXY),
        (['"192.0.2.7"'], PROXY),
        (["<script>"], PROXY),
    ],
)
def test_x_forwarded_for_names_the_first_address_from_the_right_that_is_not_trusted(values, ip):
    assert client(XFF, *values) == ip


@pytest.mark.parametrize(
    ("values", "ip"),
    [
        (["for=192.0.2.7"], "192.0.2.7"),
        (["For=192.0.2.7;Proto=https;BY=10.0.0.1"], "192.0.2.7"),
        (["proto=https ; for=192.0.2.7"], "192.0.2.7"),
        (['for="192.0.2.7:4711"'], "192.0.2.7"),
        (['for="[2001:db8:cafe::17]:4711"'], "2001:db8:cafe::17"),
        (['for="[2001:db8:cafe::17]"'], "2001:db8:cafe::17"),
        (['for="192.0.2.7:_port"'], "192.0.2.7"),
        ([r'for="192.0\.2.7"'], "192.0.2.7"),  # an escaped character is that character
        (["for=203.0.113.9, for=192.0.2.7,for=10.0.0.2"], "192.0.2.7"),
        (["for=203.0.113.9", "for=192.0.2.7"], "192.0.2.7"),
        (['for=192.0.2.7;host="a, for=203.0.113.9"'], "192.0.2.7"),
        (['for=192.0.2.7;host="a\\", for=203.0.113.9;x=\\""'], "192.0.2.7"),
        (["for=10.0.0.9"], "10.0.0.9"),
        # broken in front, by somebody who hopes that nothing behind it is read
        (['for="', "for=192.0.2.7"], "192.0.2.7"),
        (['for="x, for=192.0.2.7'], "192.0.2.7"),
        (["\x00;;==,for=192.0.2.7"], "192.0.2.7"),
        ([], PROXY),
        ([""], PROXY),
        (["for=unknown"], PROXY),
        (["for=_SEVKISEK"], PROXY),
        (["for=192.0.2.7, for=_hidden"], PROXY),
        (["for=192.0.2.7, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (["proto=https"], PROXY),
        (["for=192.0.2.7;for=203.0.113.9"], PROXY),  # which one?
        (["for=192.0.2.7:80"], PROXY),  # has to be quoted
        (["for=2001:db8::7"], PROXY),
        (['for="2001:db8::7"'], PROXY),
        (['for="192.0.2.7'], PROXY),
        (["192.0.2.7"], PROXY),
        (["for = 192.0.2.7"], PROXY),
        (["for=192.0.2.7,"], PROXY),
    ],
)
def test_forwarded_is_read_as_rfc_7239_writes_it(values, ip):
    assert client(FORWARDED, *values) == ip


@pytest.mark.parametrize("header", ForwardedHeader)
@pytest.mark.parametrize("peer", ["192.0.2.1", "11.0.0.1", "::1", None, "garbage"])
def test_nobody_but_a_trusted_peer_is_believed(header, peer):
    lines = [("X-Forwarded-For", "1.1.1.1"), ("Forwarded", "for=1.1.1.1;host=evil.example;proto=https")]
    more = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https")]
    request = resolved(header, *lines, *more, peer=peer, forwarded_host=True)
    assert (request.client_ip, request.host, request.is_secure) == (peer, "inner", False)


def test_only_the_chosen_header_counts():
    both = [("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.8")]
    assert resolved(XFF, *both).client_ip == "192.0.2.7"
    assert resolved(FORWARDED, *both).client_ip == "192.0.2.8"


def test_a_unix_socket_is_believed_only_where_that_is_said():
    line = ("X-Forwarded-For", "192.0.2.7")
    assert resolved(XFF, line, peer=None).client_ip is None
    assert resolved(XFF, line, peer=None, trusted=TrustedNetworks(["unix"])).client_ip == "192.0.2.7"
    assert resolved(XFF, peer=None, trusted=TrustedNetworks(["unix"])).client_ip is None


def test_the_host_comes_from_the_proxy_only_where_that_is_said():
    x = [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Host", "first.example, app.example:8443")]
    f = [("Forwarded", 'for=1.1.1.1;host=evil.example, for=192.0.2.7;host="app.example:8443"')]
    for header, lines in ((XFF, x), (FORWARDED, f)):
        assert resolved(header, *lines).host == "inner"
        assert resolved(header, *lines, forwarded_host=True).host == "app.example:8443"
        assert resolved(header, forwarded_host=True).host == "inner"
    chain = [("Forwarded", "for=192.0.2.7;host=app.example, for=10.0.0.2;host=middle")]
    assert resolved(FORWARDED, *chain, forwarded_host=True).host == "app.example"


@pytest.mark.parametrize(
    ("scheme", "is_secure"), [("https", True), ("HTTPS", True), ("wss", True), ("http", False), ("ws", False)]
)
def test_the_proxy_knows_whether_the_client_came_by_tls(scheme, is_secure):
    for by_tls in (False, True):
        x = resolved(XFF, ("X-Forwarded-Proto", scheme), by_tls=by_tls)
        f = resolved(FORWARDED, ("Forwarded", f"for=192.0.2.7;proto={scheme}"), by_tls=by_tls)
        assert x.is_secure is f.is_secure is is_secure
        assert resolved(XFF, by_tls=by_tls).is_secure is by_tls


addresses = st.ip_addresses().map(str)
outside = st.ip_addresses().map(lambda ip: str(parse_node(str(ip), is_bare=True))).filter(lambda ip: ip not in TRUSTED)
proxies = st.integers(1, 2**24 - 1).map(lambda n: str(ipaddress.IPv4Address(0x0A000000 + n)))
anything = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=80)


@given(st.lists(anything, max_size=3), outside, st.lists(proxies, max_size=3))
def test_nothing_that_a_client_writes_in_front_changes_who_it_is(forged, ip, chain):
    assert client(XFF, *forged, ", ".join([ip, *chain])) == ip
    node = f'"[{ip}]:1"' if ":" in ip else ip
    elements = [f"for={node};proto=https", *(f"for={proxy}" for proxy in chain)]
    assert client(FORWARDED, *forged, ", ".join(elements)) == ip
    if forged:  # a proxy may also write behind it in the same line
        assert client(FORWARDED, f"{', '.join(forged)}, {', '.join(elements)}") == ip


@given(st.lists(anything | addresses, max_size=6))
def test_whatever_the_header_says_the_client_is_an_address(values):
    for header in ForwardedHeader:
        ip = client(header, *values)
        assert ip == str(ipaddress.ip_address(str(ip)))


@given(st.lists(addresses, min_size=1, max_size=5), st.integers(1, 65535))
def test_every_way_to_write_an_address_is_read(ips, port):
    expected = [parse_node(ip, is_bare=True) for ip in reversed(ips)]
    assert None not in expected
    bracketed = [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip in ips]
    assert [hop.ip for hop in x_forwarded_hops([", ".join(ips)])] == expected
    assert [hop.ip for hop in x_forwarded_hops(bracketed)] == expected
    assert [hop.ip for hop in forwarded_hops([", ".join(f'for="{node}";by=_x' for node in bracketed)])] == expected


@pytest.mark.parametrize("options", [{"forwarded_host": True}, {"forwarded_header": FORWARDED}])
def test_options_that_need_a_trusted_proxy_say_so(options):
    (name,) = options
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')}: nobody is trusted to write it"):
        ServerSettings(**options)
    ServerSettings(**options, trusted_proxies=("127.0.0.1",))

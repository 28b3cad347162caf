"""Why no TLS connection comes about: each reason says what is wrong and which option helps."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from tests.tcpserver import tcp_server
from wsclient import Client, ConnectionFailedError, DialOptions

HANG_S = 30


async def problem_of(url: str, context: ssl.SSLContext | None = None, **options: object) -> str:
    client = Client(url, dial=DialOptions(tls=context, **options), reconnect=None)
    with pytest.raises(ConnectionFailedError) as failed:
        async with asyncio.timeout(HANG_S), client:
            pass
    return failed.value.problem


def trusting(*certificates) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for certificate in certificates:
        context.load_verify_locations(certificate.cert)
    return context


@pytest.fixture
async def serve_tls(start_server, make_certificate):
    """Serve with a certificate for these names; returns the server's URL and the certificate."""

    async def serve(*names: str, **certificate: object):
        made = make_certificate(*names, **certificate)
        server = await start_server(tls_cert=made.cert, tls_key=made.key)
        return server.url, made

    return serve


async def test_a_self_signed_certificate_names_the_option_that_trusts_it(serve_tls):
    url, made = await serve_tls("127.0.0.1")
    assert await problem_of(url) == (
        "TLS: CERTIFICATE_VERIFY_FAILED: the certificate is self-signed; "
        "trust it with --ca FILE, or skip the check with --insecure"
    )
    async with Client(url, dial=DialOptions(tls=trusting(made))) as client:
        assert client.session is not None


async def test_an_unknown_issuer_asks_for_its_certificate(serve_tls, make_certificate):
    issuer = make_certificate("A CA of our own")
    url, _ = await serve_tls("127.0.0.1", issuer=issuer)
    problem = await problem_of(url)
    assert "no CA that is trusted here signed the certificate" in problem
    assert "trust the CA's certificate with --ca FILE" in problem
    async with Client(url, dial=DialOptions(tls=trusting(issuer))) as client:
        assert client.session is not None


async def test_a_certificate_for_another_host_says_for_which_it_is_not(serve_tls):
    url, made = await serve_tls("app.example")
    problem = await problem_of(url, trusting(made))
    assert "the certificate is not for 127.0.0.1; connect by a name that it is for" in problem
    problem = await problem_of(url.replace("127.0.0.1", "localhost"), trusting(made))
    assert "the certificate is not for localhost; connect by a name that it is for" in problem
    assert "--ca" not in problem  # which would not help


async def test_an_expired_certificate_says_so(serve_tls):
    url, made = await serve_tls("127.0.0.1", days=-1)
    assert "the certificate has expired; renew it on the server" in await problem_of(url, trusting(made))


async def test_ws_to_a_port_with_tls_asks_for_wss(start_server, engine, make_certificate):
    made = make_certificate("127.0.0.1")
    server = await start_server(engine=engine, tls_cert=made.cert, tls_key=made.key)
    problem = await problem_of(server.url.replace("wss:", "ws:"))
    assert problem == "this port speaks TLS; did you mean wss://?"


async def test_wss_to_a_port_without_tls_asks_for_ws(start_server, engine):
    server = await start_server(engine=engine)
    problem = await problem_of(server.url.replace("ws:", "wss:"), open_timeout_s=2)
    assert problem == "this port speaks no TLS; did you mean ws://?"


@pytest.mark.parametrize("answer", [b"", b"\x00\x01", b"SSH-2.0-x\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_what_speaks_neither_is_not_taken_for_tls(scheme, answer):
    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read(10_000)
        writer.close()

    async with tcp_server(on_connection) as port:
        problem = await problem_of(f"{scheme}://127.0.0.1:{port}/")
    assert ("did you mean ws://?" in problem) is (scheme == "wss" and answer.startswith(b"HTTP/"))
    assert "wss://?" not in problem


async def test_where_nothing_listens_nothing_is_said_of_tls():
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        assert "connection refused" in await problem_of(f"wss://127.0.0.1:{bound.getsockname()[1]}/")

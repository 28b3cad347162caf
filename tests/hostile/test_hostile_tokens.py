"""Tokens made to deceive, over a socket: each is refused by its code and 4001, and a neighbour notices nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from wscore.guest import GuestMode, mint_guest_token
from wscore.tokens import JwtKey, mint_jwt
from wsserver.connections.sessions import SessionJoin
from wsserver.telemetry.clock import Clock

HANG_S = 20
NOW_S = 1_700_000_000
NOW_MS = NOW_S * 1000
DAY_MS = 24 * 60 * 60 * 1000
CLOCK = Clock(now_ms=lambda: NOW_MS)
SECRET = b"a secret for tests, 32 bytes or more"
GUEST = uuid.UUID("0b8f9c5e-3f0a-4c6e-9b1d-2a7e5d4c3b21")
OTHER = uuid.UUID("7d2f4a10-5b3c-4e8d-8f6a-1c9b0e7d6a54")
ALGORITHMS = ("none", "None", "nOnE", "NONE", "", "hs256", "HS256 ", "HS512", "RS256", None, 1, ["HS256"])
SUBJECTS = (5, True, ["alice"], {"name": "alice"}, "", "a" * 257, "\ud800")
KIDS = ("k1", "k2", "../../k1", "/dev/null", "k1\0", "' OR 1=1 --", "")
INVALID, EXPIRED, REQUIRED = "AUTH_INVALID", "AUTH_EXPIRED", "AUTH_REQUIRED"


@cache
def private_key(algorithm: str, owner: str) -> Any:
    return rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())


def public_pem(algorithm: str) -> bytes:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public = private_key(algorithm, "server").public_key()
    return bytes(public.public_bytes(serialization.Encoding.PEM, spki))


def jwk(owner: str) -> dict[str, Any]:
    return dict(jwt.get_algorithm_by_name("ES256").to_jwk(private_key("ES256", owner).public_key(), as_dict=True))


def by_key(algorithm: str, owner: str = "server", **header: object) -> str:
    """Sign good claims with the private key of somebody."""
    return jwt.encode(claims(), private_key(algorithm[:2] + "256", owner), algorithm, headers=header)


SERVERS: dict[str, Callable[[], dict[str, Any]]] = {
    "guests": dict,
    "signed": lambda: {"guests": GuestMode.SIGNED, "guest_secret": SECRET},
    "hs": lambda: {"jwt_key": JwtKey(secret=SECRET)},
    "strict": lambda: {"jwt_key": JwtKey(secret=SECRET), "issuer": "me", "audience": "wsctl"},
    "rs": lambda: {"jwt_key": JwtKey("RS256", public_key_pem=public_pem("RS256"))},
    "es": lambda: {"jwt_key": JwtKey("ES256", public_key_pem=public_pem("ES256"))},
    "jwks": lambda: {
        "jwt_key": JwtKey("ES256", jwks_json=json.dumps({"keys": [{**jwk("server"), "kid": "k1"}]}).encode())
    },
}


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def claims(**changes: object) -> dict[str, object]:
    """Return good claims with changes; None takes a claim away."""
    merged = {"sub": "alice", "exp": NOW_S + 3600, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def crafted(header: object, payload: object, key: bytes = SECRET, padding: str = "") -> str:
    """Sign with HS256 what no library would; a text is the payload as it is."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    body = f"{encode(json.dumps(header).encode())}{padding}.{encode(text.encode())}"
    return f"{body}.{encode(hmac.digest(key, body.encode(), hashlib.sha256))}"


def hs(payload: object = None, **header: object) -> str:
    return crafted({"alg": "HS256", **header}, claims() if payload is None else payload)


def guest(timestamp: object = NOW_MS, name: object = GUEST) -> str:
    return f"guest_{name}_{timestamp}"


def signed(name: uuid.UUID = GUEST, secret: bytes = SECRET) -> str:
    return mint_guest_token(name, NOW_MS, secret)


def flipped(token: str) -> str:
    return token[:-1] + ("b" if token[-1] == "a" else "a")


def digits_from(zero: int) -> str:
    return "".join(chr(zero + int(digit)) for digit in str(NOW_MS))


GUESTS = [
    ("60.001 s ahead", lambda: guest(NOW_MS + 60_001), INVALID),
    ("a day old", lambda: guest(NOW_MS - DAY_MS), EXPIRED),
    ("leading zeros", lambda: guest("000001"), INVALID),
    ("Arabic digits", lambda: guest(digits_from(0x660)), INVALID),
    ("fullwidth digits", lambda: guest(digits_from(0xFF10)), INVALID),
    ("an extra _", lambda: guest(f"_{NOW_MS}"), INVALID),
    ("a last _", lambda: guest(f"{NOW_MS}_"), INVALID),
    ("no timestamp", lambda: f"guest_{GUEST}", INVALID),
    ("no uuid", lambda: f"guest_{NOW_MS}", INVALID),
    ("an upper-case prefix", lambda: guest().replace("guest", "GUEST"), INVALID),
    ("a uuid in braces", lambda: guest(name=f"{{{GUEST}}}"), INVALID),
    ("a urn uuid", lambda: guest(name=GUEST.urn), INVALID),
    ("uuid1", lambda: guest(name="0b8f9c5e-3f0a-11ee-9b1d-2a7e5d4c3b21"), INVALID),
    ("a trailing newline", lambda: f"{guest()}\n", INVALID),
    ("a trailing NUL", lambda: f"{guest()}\0", INVALID),
    ("a timestamp of 10^30", lambda: guest(10**30), INVALID),
    ("a timestamp of 5000 digits", lambda: guest("9" * 5000), INVALID),
    ("a negative timestamp", lambda: guest(-1), INVALID),
    ("a JWT where there is no key", lambda: mint_jwt(SECRET, claims()), INVALID),
]
SIGNED = [
    ("no MAC", guest, INVALID),
    ("the MAC cut", lambda: signed()[:-1], INVALID),
    ("the MAC flipped", lambda: flipped(signed()), INVALID),
    ("the MAC longer", lambda: f"{signed()}a", INVALID),
    ("the MAC in upper case", lambda: signed()[:-26] + signed()[-26:].upper(), INVALID),
    ("the MAC empty", lambda: signed()[:-26], INVALID),
    ("the MAC of another secret", lambda: signed(secret=b"k" * 32), INVALID),
    ("the MAC of another guest", lambda: guest() + signed(OTHER)[-27:], INVALID),
    ("the MAC of another time", lambda: guest(NOW_MS + 1) + signed()[-27:], INVALID),
    ("the uuid respelt", lambda: signed().replace(str(GUEST), str(GUEST).upper()), INVALID),
    ("a day old", lambda: mint_guest_token(GUEST, NOW_MS - DAY_MS, SECRET), EXPIRED),
]
HS = [
    *((f"alg {alg!r}", partial(crafted, {"alg": alg}, claims()), INVALID) for alg in ALGORITHMS),
    ("alg none unsigned", lambda: jwt.encode(claims(), None, algorithm="none"), INVALID),
    ("no alg", lambda: crafted({"typ": "JWT"}, claims()), INVALID),
    ("a list as header", lambda: crafted(["HS256"], claims()), INVALID),
    ("signed with RS256", lambda: by_key("RS256"), INVALID),
    ("signed with ES256", lambda: by_key("ES256"), INVALID),
    ("a short secret", lambda: crafted({"alg": "HS256"}, claims(), b"short"), INVALID),
    ("an empty secret", lambda: crafted({"alg": "HS256"}, claims(), b""), INVALID),
    ("no signature", lambda: hs().rpartition(".")[0] + ".", INVALID),
    ("two segments", lambda: hs().rpartition(".")[0], INVALID),
    ("five segments", lambda: encode(b'{"alg":"dir","enc":"A128GCM"}') + "..QUJD.QUJD.QUJD", INVALID),
    ("exp missing", lambda: hs(claims(exp=None)), INVALID),
    ("exp as text", lambda: hs(claims(exp=str(NOW_S + 3600))), INVALID),
    ("exp as a bool", lambda: hs(claims(exp=True)), INVALID),
    ("exp NaN", lambda: hs(claims(exp=float("nan"))), INVALID),
    ("exp of 10^30", lambda: hs(claims(exp=10**30)), INVALID),
    ("exp of 4400 digits", lambda: hs(f'{{"sub":"alice","exp":{"9" * 4400}}}'), INVALID),
    ("exp negative", lambda: hs(claims(exp=-1)), INVALID),
    ("exp past", lambda: hs(claims(exp=NOW_S - 30)), EXPIRED),
    ("exp twice", lambda: hs(f'{{"sub":"a","exp":{NOW_S + 99},"exp":{NOW_S - 99}}}'), EXPIRED),
    ("nbf in the future", lambda: hs(claims(nbf=NOW_S + 31)), INVALID),
    ("nbf as text", lambda: hs(claims(nbf="0")), INVALID),
    ("issued in the future", lambda: hs(claims(iat=NOW_S + 31)), INVALID),
    ("iat as text", lambda: hs(claims(iat=str(NOW_S))), INVALID),
    ("an aud where none is configured", lambda: hs(claims(aud="elsewhere")), INVALID),
    ("sub missing", lambda: hs(claims(sub=None)), INVALID),
    *((f"sub {sub!r}"[:20], lambda sub=sub: hs(claims(sub=sub)), INVALID) for sub in SUBJECTS),
    ("claims that are no object", lambda: hs('["alice"]'), INVALID),
    ("claims nested deeply", lambda: hs('{"sub":' + "[" * 1500 + "]" * 1500 + "}"), INVALID),
    ("a JWT in a JWT", lambda: hs(mint_jwt(SECRET, claims()), cty="JWT"), INVALID),
    ("a crit header", lambda: hs(crit=["exp"]), INVALID),
    ("padding after the signature", lambda: f"{hs()}=", INVALID),
    ("padding within", lambda: crafted({"alg": "HS256"}, claims(), padding="="), INVALID),
    ("an empty crit header", lambda: hs(crit=[]), INVALID),
    ("b64 false", lambda: hs(b64=False), INVALID),
    ("b64 false in crit", lambda: hs(b64=False, crit=["b64"]), INVALID),
    ("b64 false with the payload cut out", lambda: hs("", b64=False, crit=["b64"]), INVALID),
    (
        "kid a path with an empty key",
        lambda: crafted({"alg": "HS256", "kid": "../../dev/null"}, claims(), b""),
        INVALID,
    ),
    ("whitespace in base64", lambda: crafted({"alg": "HS256"}, claims(), padding=" "), INVALID),
    ("a newline in base64", lambda: crafted({"alg": "HS256"}, claims(), padding="\n"), INVALID),
    ("whitespace after the signature", lambda: f"{hs()} \t", INVALID),
]
STRICT = [
    ("no aud", lambda: hs(claims(iss="me")), INVALID),
    ("another aud", lambda: hs(claims(iss="me", aud="other")), INVALID),
    ("a list of other auds", lambda: hs(claims(iss="me", aud=["other", "wsctl2"])), INVALID),
    ("aud as a number", lambda: hs(claims(iss="me", aud=5)), INVALID),
    ("aud with a number in it", lambda: hs(claims(iss="me", aud=["wsctl", 5])), INVALID),
    ("aud as an object", lambda: hs(claims(iss="me", aud={"wsctl": 1})), INVALID),
    ("no iss", lambda: hs(claims(aud="wsctl")), INVALID),
    ("another iss", lambda: hs(claims(aud="wsctl", iss="you")), INVALID),
    ("iss as a list", lambda: hs(claims(aud="wsctl", iss=["me"])), INVALID),
]
RS = [
    ("HS256 keyed with the public key", lambda: crafted({"alg": "HS256"}, claims(), public_pem("RS256")), INVALID),
    ("the same called RS256", lambda: crafted({"alg": "RS256"}, claims(), public_pem("RS256")), INVALID),
    ("another RSA key", lambda: by_key("RS256", "mallory"), INVALID),
    ("the right key with PS256", lambda: jwt.encode(claims(), private_key("RS256", "server"), "PS256"), INVALID),
    ("ES256", lambda: by_key("ES256"), INVALID),
]
ES = [
    ("HS256 keyed with the public key", lambda: crafted({"alg": "HS256"}, claims(), public_pem("ES256")), INVALID),
    ("a signature of zeros", lambda: by_key("ES256")[:-86] + "A" * 86, INVALID),
    ("a jwk of its own", lambda: by_key("ES256", "mallory", jwk=jwk("mallory")), INVALID),
]
JWKS = [(f"kid {kid!r}", partial(by_key, "ES256", "mallory", kid=kid), INVALID) for kid in KIDS]
TABLES = {"guests": GUESTS, "signed": SIGNED, "hs": HS, "strict": STRICT, "rs": RS, "es": ES, "jwks": JWKS}
REFUSED = [pytest.param(kind, *row[1:], id=f"{kind}: {row[0]}") for kind, rows in TABLES.items() for row in rows]
ACCEPTED = [
    ("guests", "59.999 s ahead", lambda: guest(NOW_MS + 59_999), f"guest_{GUEST}"),
    ("guests", "a day old but a millisecond", lambda: guest(NOW_MS - DAY_MS + 1), f"guest_{GUEST}"),
    ("guests", "an upper-case uuid", lambda: guest(name=str(GUEST).upper()), f"guest_{GUEST}"),
    ("guests", "signed where nobody checks", lambda: flipped(signed()), f"guest_{GUEST}"),
    ("signed", "signed", signed, f"guest_{GUEST}"),
    ("hs", "29 s expired", lambda: hs(claims(exp=NOW_S - 29)), "alice"),
    ("hs", "exp as a float", lambda: hs(claims(exp=NOW_S + 0.5)), "alice"),
    ("hs", "issued 30 s in the future", lambda: hs(claims(iat=NOW_S + 30)), "alice"),
    ("hs", "a path as kid", lambda: hs(kid="../../etc/passwd"), "alice"),
    ("strict", "a list of auds", lambda: hs(claims(iss="me", aud=["other", "wsctl"])), "alice"),
    ("rs", "the right key", lambda: by_key("RS256"), "alice"),
    ("jwks", "no kid beside a single key", lambda: by_key("ES256"), "alice"),
]


def ways(token: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield query and connect options for each place that can carry the token."""
    yield f"token={quote(token, safe='')}", {}
    yield "", {"subprotocols": ["wsctl.v1", f"token.{encode(token.encode())}"]}
    if token.isascii() and token.isprintable() and token == token.strip():
        yield "", {"additional_headers": {"Authorization": f"Bearer {token}"}}


@pytest.fixture
async def dial():
    """Open sockets: `await dial(server, "token=...&sessionId=...", **connect options)`."""
    opened: list[ClientConnection] = []

    async def open_socket(server, query: str, **options: Any) -> ClientConnection:
        opened.append(await connect(f"{server.url}?{query}", proxy=None, compression=None, **options))
        return opened[-1]

    yield open_socket
    for ws in opened:
        await ws.close()


async def receive(ws: ClientConnection) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(await asyncio.wait_for(ws.recv(), HANG_S))
    return envelope


async def outcome(ws: ClientConnection) -> tuple[list[str], int]:
    """Return the error codes, or types, of what comes before the close, and its code."""
    seen = []
    try:
        while True:
            envelope = await receive(ws)
            seen.append(envelope["data"]["code"] if envelope["type"] == "error" else envelope["type"])
    except ConnectionClosed as closed:
        return seen, 1006 if closed.rcvd is None else closed.rcvd.code


async def ask(ws: ClientConnection, type: str, data: object = None) -> dict[str, Any]:
    """Send a message with an id; the very next envelope must be its answer."""
    await ws.send(json.dumps({"type": type, "timestamp": 1, "data": data, "id": "n1"}))
    answer = await receive(ws)
    assert answer["id"] == "n1"
    return answer


async def open_neighbour(dial, server, kind: str = "guests") -> ClientConnection:
    ws: ClientConnection = await dial(server, f"token={signed(OTHER) if kind == 'signed' else guest(name=OTHER)}")
    assert (await receive(ws))["type"] == "session_created"
    return ws


@pytest.mark.parametrize(("kind", "make", "code"), REFUSED)
async def test_a_hostile_token_is_refused_alike_wherever_it_stands(start_server, dial, engine, kind, make, code):
    server = await start_server(engine=engine, clock=CLOCK, **SERVERS[kind]())
    neighbour, token = await open_neighbour(dial, server, kind), make()
    for query, options in ways(token):
        assert await outcome(await dial(server, query, **options)) == ([code], 4001)
    assert (await ask(neighbour, "auth_refresh", {"token": token}))["data"]["code"] == code
    assert (await ask(neighbour, "ping"))["type"] == "pong"
    assert len(server.connections) == 1


@pytest.mark.parametrize(("kind", "make", "user"), [pytest.param(*row[::2], row[3], id=row[1]) for row in ACCEPTED])
async def test_a_token_at_the_edge_of_the_rules_is_accepted_wherever_it_stands(
    start_server, dial, engine, kind, make, user
):
    server = await start_server(engine=engine, clock=CLOCK, **SERVERS[kind]())
    for query, options in ways(make()):
        greeting = await receive(await dial(server, query, **options))
        assert (greeting["type"], greeting["data"]["userId"]) == ("session_created", user)


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("token=", {}),
        ("Token=guest", {}),
        ("", {"additional_headers": {"Authorization": "Bearer"}}),
        ("", {"additional_headers": {"Authorization": "Bearer  "}}),
        ("", {"additional_headers": {"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="}}),
        ("", {"subprotocols": ["wsctl.v1"]}),
        ("", {"subprotocols": ["wsctl.v1", "token."]}),
        ("", {"subprotocols": ["wsctl.v1", "token._w"]}),
    ],
    ids=lambda value: "&".join(map(str, value.items())) if isinstance(value, dict) else value,
)
async def test_an_empty_or_unreadable_token_counts_as_none(start_server, dial, engine, query, options):
    server = await start_server(engine=engine)
    assert await outcome(await dial(server, query, **options)) == ([REQUIRED], 4001)


@pytest.mark.parametrize("size", [10 << 10, 1 << 20])
async def test_a_giant_token_or_session_id_is_never_admitted(start_server, dial, engine, size):
    server = await start_server(engine=engine, clock=CLOCK, max_message_bytes=2 << 20, jwt_key=JwtKey(secret=SECRET))
    neighbour, giant = await open_neighbour(dial, server), "a" * size
    for query, options in (
        (f"token={giant}", {}),
        (f"token={guest()}&sessionId={giant}", {}),
        (f"token={guest()}", {"additional_headers": {"Authorization": f"Bearer {giant}"}}),
        (f"token={guest()}", {"subprotocols": ["wsctl.v1", f"token.{giant}"]}),
    ):
        try:
            codes, close_code = await outcome(await dial(server, query, **options))
        except (InvalidStatus, InvalidMessage):
            pass  # an HTTP error, or cut off before it was read
        else:
            assert (codes, close_code) in (([INVALID], 4001), (["SESSION_CREATE_FAILED"], 4001))
    assert (await ask(neighbour, "auth_refresh", {"token": hs(claims(x=giant))}))["data"]["code"] == INVALID
    assert (await ask(neighbour, "ping"))["type"] == "pong"
    assert len(server.connections) == 1


@pytest.mark.parametrize("header", ["jku", "x5u"])
async def test_a_key_that_a_token_points_to_is_neither_fetched_nor_trusted(start_server, dial, engine, header):
    fetched = []
    lure = await asyncio.start_server(lambda _, writer: (fetched.append(header), writer.close()), "127.0.0.1", 0)
    address = "http://127.0.0.1:{1}/keys".format(*lure.sockets[0].getsockname())
    try:
        for kind in ("es", "jwks"):
            server = await start_server(engine=engine, clock=CLOCK, **SERVERS[kind]())
            for kid in ("k1", "mallory"):
                token = by_key("ES256", "mallory", **{header: address, "kid": kid, "jwk": jwk("mallory")})
                assert await outcome(await dial(server, f"token={token}")) == ([INVALID], 4001)
    finally:
        lure.close()
        await lure.wait_closed()
    assert fetched == []


SESSION_IDS = {
    "control characters": "a%0D%0Ab",
    "an escape": "%1B%5B31m",
    "NUL": "%00",
    "NUL at the end": "room%00",
    "a path": "../room",
    "a path in percents": "..%2Froom",
    "a newline at the end": "room%0A",
    "fullwidth letters": quote("\uff52\uff4f\uff4f\uff4d"),
    "no UTF-8": "%ff%fe",
    "129 characters": "a" * 129,
}


@pytest.mark.parametrize("join", list(SessionJoin))
@pytest.mark.parametrize("session_id", SESSION_IDS.values(), ids=SESSION_IDS)
async def test_a_malformed_session_id_is_refused(start_server, dial, engine, session_id, join):
    server = await start_server(engine=engine, clock=CLOCK, session_join=join, jwt_key=JwtKey(secret=SECRET))
    neighbour = await open_neighbour(dial, server)
    for token in (guest(), hs()):
        ws = await dial(server, f"token={token}&sessionId={session_id}")
        assert await outcome(ws) == (["SESSION_CREATE_FAILED"], 4001)
    assert (await ask(neighbour, "ping"))["type"] == "pong"
    assert len(server.connections) == 1


async def test_somebody_elses_session_is_closed_to_whoever_knows_its_id(start_server, dial, engine):
    key = JwtKey(secret=SECRET)
    server = await start_server(engine=engine, clock=CLOCK, session_join=SessionJoin.TOKEN, jwt_key=key)
    owner = await dial(server, f"token={hs(claims(sid='room'))}")
    assert (await receive(owner))["sessionId"] == "room"
    for token in (guest(), hs(claims(sub="mallory")), hs(), hs(claims(sid="room2")), hs(claims(sid="ROOM"))):
        for query in (f"token={token}&sessionId=room", f"sessionId=room&sessionId=room2&token={token}"):
            assert await outcome(await dial(server, query)) == (["SESSION_CREATE_FAILED"], 4001)
    assert (await ask(owner, "ping"))["type"] == "pong"

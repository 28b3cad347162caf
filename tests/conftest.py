"""Fixtures that every folder uses: a real server in the test's own event loop, and tokens for it."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.redisserver import RedisServer, redis_program
from wscore.guest import mint_guest_token
from wscore.tokens import JwtKey, mint_jwt
from wsserver import App, ServerSettings, WebSocketServer
from wsserver.settings import EngineName
from wsserver.telemetry.clock import Clock

SECRET = b"a secret for tests, 32 bytes or more"

# Hundreds of tests start a process of the project's: none of them should have to compile it again. Nor should each
# process of pytest compile the tests, which is more than half of what it takes to collect them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
sys.dont_write_bytecode = False
sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]

# Who runs the tests in the background or under nohup has these ignored, and so would have whatever a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# What a process of pytest has collected, thousands of tests and all that they import, stays until it ends. To look
# through it for garbage again and again was a quarter of the processor time of tests of the terminal client. What a
# test leaves is looked through as often as ever; what has survived that, ten times less.
gc.set_threshold(700, 10, 100)

ENGINES = tuple(name for name in EngineName if name is not EngineName.AUTO)

StartServer = Callable[..., Awaitable[WebSocketServer]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes a core for `-n auto`: a third of a test's time is waiting, for sockets, processes and speech."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    """Start servers on free ports: `await start_server(app=..., clock=..., **settings)`; all are stopped afterwards."""
    servers: list[WebSocketServer] = []

    async def start(app: App | None = None, clock: Clock | None = None, **settings: Any) -> WebSocketServer:
        defaults = {"port": 0, "drain_timeout_ms": 2000, "close_timeout_ms": 1000}
        server = WebSocketServer(ServerSettings(**{**defaults, **settings}), app, clock=clock)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
def guest_token() -> Callable[[], str]:
    """Mint unsigned guest tokens, each for another guest."""
    return lambda: mint_guest_token(uuid.uuid4(), now_ms())


@pytest.fixture
def jwt_key() -> JwtKey:
    return JwtKey(secret=SECRET)


@pytest.fixture
def user_token() -> Callable[..., str]:
    """Mint JWTs for SECRET: `user_token("alice", sid="room", exp=...)`."""

    def mint(sub: str = "alice", **claims: object) -> str:
        return mint_jwt(SECRET, {"sub": sub, "exp": now_ms() // 1000 + 3600, **claims})

    return mint


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Each test that takes this runs once per engine."""
    name: EngineName = request.param
    return name


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as objects and as PEM files."""

    x509: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey
    cert: Path
    key: Path


@pytest.fixture
def make_certificate(tmp_path: Path) -> Callable[..., Certificate]:
    """Write certificates: `make_certificate("app.example", "127.0.0.1", days=-1, issuer=another)`.

    Without an issuer it signs itself; with negative days it has expired.
    """

    def make(*names: str, days: int = 1, issuer: Certificate | None = None) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        issued_by = subject if issuer is None else issuer.x509.subject
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        for name in names:
            with suppress(ValueError):
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(issued_by, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key if issuer is None else issuer.private_key, hashes.SHA256())
        )
        stem = uuid.uuid4().hex
        files = tmp_path / f"{stem}.pem", tmp_path / f"{stem}.key"
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Certificate(certificate, key, *files)

    return make


@pytest.fixture
def start_redis(tmp_path) -> Iterator[Callable[..., RedisServer]]:
    """Start a Redis: `start_redis("--maxmemory", "3mb", certificate=...)`, in an `environment`, by another program."""
    found = redis_program()
    servers: list[RedisServer] = []

    def start(
        *options: str,
        certificate: Certificate | None = None,
        environment: Mapping[str, str] | None = None,
        program: str | None = found,
    ) -> RedisServer:
        if program is None:
            pytest.skip("needs redis-server")
        directory = tmp_path / f"redis{len(servers)}"
        directory.mkdir()
        server = RedisServer(program, directory, options, certificate, environment)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def redis(start_redis) -> RedisServer:
    """A Redis that keeps nothing on disk."""
    return start_redis()

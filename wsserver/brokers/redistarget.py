"""Which Redis, and how to get in: the URL of `--broker`, Sentinel included.

redis://[user:password@]host[:port][/database]        rediss://… is the same over TLS
unix:///path/to/socket[?db=1]
redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/database]
  [?sentinel-user=…&sentinel-password=…]              user and password in front are the master's
rediss+sentinel://… is the same over TLS, to the Sentinels and to whom they name
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from wscore.errors import ConfigError
from wscore.text import system_words
from wsserver.lookup import look_up
from wsserver.trusting import trusting_context

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
SENTINEL_TIMEOUT_S: Final = 1.0  # so that there is time for the next one, however the first ones fail
_SENTINELS: Final = ("redis+sentinel", "rediss+sentinel")
_BETWEEN: Final = re.compile(r"\s+|,\s*(?=[a-z+]+://)")
_FORM: Final = "write redis://host:6379/0, rediss://host, unix:///path or redis+sentinel://host,host/service"


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """Where a Redis is. It is shown without its passwords."""

    host: str = ""
    port: int = REDIS_PORT
    path: str = ""  # of a Unix socket, then host and port say nothing
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""  # which master the Sentinels are asked for
    sentinel_username: str = ""  # of the Sentinels themselves
    sentinel_password: str = field(default="", repr=False)

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}" + (f"?db={self.database}" if self.database else "")
        scheme = "redis" if self.tls is None else "rediss"
        if self.sentinels:
            hosts = ",".join(_address(host, port) for host, port in self.sentinels)
            return f"{scheme}+sentinel://{hosts}/{self.service}/{self.database}"
        return f"{scheme}://{_address(self.host, self.port)}/{self.database}"

    @property
    def has_password(self) -> bool:
        """Whether its URL is a secret."""
        return bool(self.password or self.sentinel_password)

    async def address(self) -> tuple[str, int]:
        """Return host and port of the master, as the Sentinels say; raises ConnectionError when none knows it."""
        if not self.sentinels:
            return self.host, self.port
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError

        problems = []
        for host, port in self.sentinels:
            async with Redis(
                host=host,
                port=port,
                username=self.sentinel_username or None,
                password=self.sentinel_password or None,
                ssl=self.tls is not None,
                socket_timeout=SENTINEL_TIMEOUT_S,
                socket_connect_timeout=SENTINEL_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),  # or one that is gone takes longer than a dial may
            ) as sentinel:
                try:
                    async with asyncio.timeout(SENTINEL_TIMEOUT_S):
                        await look_up(host, port)
                    masters: Any = await sentinel.sentinel_masters()
                except (RedisError, OSError) as error:
                    problems.append(f"{_address(host, port)}: {_words(error)}")
                    continue
            state = masters.get(self.service)
            if state is None or not state["is_master"]:
                problems.append(f"{_address(host, port)} has not heard of it")
            elif state["is_sdown"] or state["is_odown"]:
                problems.append(f"{_address(host, port)} says that it is down")
            else:
                return state["ip"], int(state["port"])
        raise ConnectionError(f"no Sentinel knows a master {self.service!r}: {'; '.join(problems)}")


def read_list(text: str) -> list[str]:
    """Return the URLs of a text, with spaces or commas between them; the hosts of a Sentinel's have commas as well."""
    return [url for url in _BETWEEN.split(text.strip(" ,\n\t")) if url]


def read_target(url: str, option: str = "--broker") -> RedisTarget:
    """Read a URL; raises ConfigError about the option that has it, which never shows a password."""
    try:
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "unix":
            return RedisTarget(
                path=parts.path, database=_database(parts.query.removeprefix("db=")), username=user, password=password
            )
        tls = trusting_context() if parts.scheme.startswith("rediss") else None
        if parts.scheme in _SENTINELS:
            return _sentinel_target(parts, user, password, tls)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError
        database = _database(parts.path.strip("/"))
        return RedisTarget(parts.hostname, parts.port or REDIS_PORT, "", database, user, password, tls)
    except ValueError:
        raise ConfigError(option, "is no URL of a Redis", _FORM) from None


def _sentinel_target(parts: SplitResult, user: str, password: str, tls: ssl.SSLContext | None) -> RedisTarget:
    sentinels = []
    for part in parts.netloc.rpartition("@")[2].split(","):
        host, _, port = part.partition(":")
        if not host:
            raise ValueError
        sentinels.append((host, int(port) if port else SENTINEL_PORT))
    service, _, database = parts.path.strip("/").partition("/")
    own = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    if not service or parts.fragment or not own.keys() <= {"sentinel-user", "sentinel-password"}:
        raise ValueError
    return RedisTarget(
        database=_database(database),
        username=user,
        password=password,
        tls=tls,
        sentinels=tuple(sentinels),
        service=service,
        sentinel_username=own.get("sentinel-user", ""),
        sentinel_password=own.get("sentinel-password", ""),
    )


def _words(error: Exception) -> str:
    """Say what went wrong: redis-py writes its own text around what the system says, with the place once more."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.errno:
        return system_words(cause)
    return str(error).rstrip(". ") or type(error).__name__


def _database(text: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        raise ValueError
    return int(text)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

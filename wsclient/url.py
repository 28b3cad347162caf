"""The URL of a connection: its scheme filled in, token and session added, secrets hidden for display."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from wscore.errors import ConfigError
from wscore.foreign import Adapter
from wscore.text import REDACTED, checked_text, redact

DEFAULT_URL: Final = "ws://127.0.0.1:8765/socket.io/"

HTTPS_PORT: Final = 443
_HAS_PLACE = re.compile(r"(localhost|[^\s/?#]*[.:\]][^\s/?#]*)($|[/?#])")  # a word alone is a slip: `2s`, `nowhere`
_MEND: Final = f"write it as {DEFAULT_URL}"
_BEFORE_AT = re.compile(r"(?<=//).*(?=@)")
_USER_INFO = re.compile(r"(?<=//)[^/?#]*@")
_SECRET_FIELD = re.compile(r"(?i)([?&][^=&#\s]*(?:token|key|secret|passw|auth|sig)[^=&#\s]*=)[^&#\s\"']*")


def normalise_url(url: str) -> str:
    """Return `url` with the scheme and the path `/` if it has none; raises ConfigError for what is no ws:// or wss://.

    What names no scheme is wss://, but for this machine and for a port that is not 443.
    """
    if "://" not in url and _HAS_PLACE.match(url):
        place = f"ws://{url}"
        with suppress(ValueError):
            is_plain = urlsplit(place).port not in (None, HTTPS_PORT) or is_loopback_url(place)
            url = place if is_plain else f"wss://{url}"
    shown = shown_url(url)
    problem = "its host is malformed"
    try:
        parts = urlsplit(url)
        host = parts.hostname
        problem = "Port could not be cast to a number from 0 to 65535"
        _ = parts.port
    except ValueError:  # its text quotes what may be part of a password, and so may the URL, up to a stray @
        raise ConfigError("URL", f"{_BEFORE_AT.sub(REDACTED, shown)!r}: {problem}", _MEND) from None
    if parts.scheme not in ("ws", "wss"):
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
        mend = f"did you mean {scheme}://?" if scheme else _MEND
        raise ConfigError("URL", f"{shown!r} is not a ws:// or wss:// URL", mend)
    if not host:
        raise ConfigError("URL", f"{shown!r} has no host", _MEND)
    if any(character.isspace() for character in url):
        raise ConfigError("URL", f"{shown!r} contains a space", _MEND)
    if not url.isprintable():
        raise ConfigError("URL", f"{shown!r} contains a character that no URL can have", _MEND)
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", parts.query, ""))


def shown_url(url: str) -> str:
    """Return `url` as it may be shown: without user name and password, and what its query calls a token or a key."""
    return redact(_SECRET_FIELD.sub(rf"\g<1>{REDACTED}", _USER_INFO.sub(f"{REDACTED}@", url)))


def is_seed_url(url: str) -> bool:
    """Tell whether a URL is one at which wsctl's own clients look for a server: its path, and no Engine.IO."""
    parts = urlsplit(url)
    return parts.path in ("/socket.io", "/socket.io/") and all(name != "EIO" for name, _ in parse_qsl(parts.query))


def adapted_url(url: str, adapter: Adapter) -> str:
    """Return the URL as a protocol has it: with its own path where there is none, and with its fields in the query."""
    parts = urlsplit(url)
    named = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    added = urlencode([(name, value) for name, value in adapter.query if name not in named])
    path = adapter.path if adapter.path is not None and parts.path in ("", "/") else parts.path
    return urlunsplit(parts._replace(path=path, query="&".join(filter(None, (parts.query, added)))))


def has_token(url: str) -> bool:
    """Tell whether a URL carries its own token."""
    return any(name == "token" for name, _ in parse_qsl(urlsplit(url).query))


def connect_url(
    url: str, *, token: str | None, session_id: str | None, resume: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the URL to dial, with token and session in its query as the seed's clients send them.

    `resume` says where to go on in the session. They take the place of any that the URL carries. Raises ConfigError
    for what no URL can carry.
    """
    if token is not None:
        checked_text(token, "token")
    if session_id is not None:
        checked_text(session_id, "--session")
    parts = urlsplit(url)
    added = {name: value for name, value in (("token", token), ("sessionId", session_id)) if value is not None}
    added.update(resume)
    kept = [field for field in parts.query.split("&") if field and field.partition("=")[0] not in added]
    return urlunsplit(parts._replace(query="&".join([*kept, urlencode(added)] if added else kept)))


def is_loopback_url(url: str) -> bool:
    """Tell whether a URL points to this machine, which no proxy may come between."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

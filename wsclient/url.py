"""The URL of a connection: defaults filled in, token and session added, secrets hidden for display."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from wscore.errors import ConfigError
from wscore.text import REDACTED, redact

DEFAULT_URL: Final = "ws://127.0.0.1:8765/socket.io/"
DEFAULT_PATH: Final = "/socket.io/"

_MEND: Final = f"write it as {DEFAULT_URL}"
_USER_INFO = re.compile(r"(?<=//)[^/?#]*@")


def normalise_url(url: str) -> str:
    """Return `url` with the default path if it has none; raises ConfigError for anything but ws:// and wss://."""
    shown = shown_url(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError("URL", f"{shown!r}: {error}", _MEND) from None
    if parts.scheme not in ("ws", "wss"):
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
        mend = f"did you mean {scheme}://?" if scheme else _MEND
        raise ConfigError("URL", f"{shown!r} is not a ws:// or wss:// URL", mend)
    if not host:
        raise ConfigError("URL", f"{shown!r} has no host", _MEND)
    if any(character.isspace() for character in url):
        raise ConfigError("URL", f"{shown!r} contains a space", _MEND)
    return urlunsplit((parts.scheme, parts.netloc, parts.path or DEFAULT_PATH, parts.query, ""))


def shown_url(url: str) -> str:
    """Return `url` as it may be shown: without token, user name and password."""
    return redact(_USER_INFO.sub(f"{REDACTED}@", url))


def has_token(url: str) -> bool:
    """Tell whether a URL carries its own token."""
    return any(name == "token" for name, _ in parse_qsl(urlsplit(url).query))


def connect_url(url: str, *, token: str | None, session_id: str | None) -> str:
    """Return the URL to dial, with token and session in its query as the seed's clients send them.

    They take the place of any that the URL carries.
    """
    parts = urlsplit(url)
    added = {name: value for name, value in (("token", token), ("sessionId", session_id)) if value is not None}
    kept = [field for field in parts.query.split("&") if field and field.partition("=")[0] not in added]
    return urlunsplit(parts._replace(query="&".join([*kept, urlencode(added)] if added else kept)))


def is_loopback_url(url: str) -> bool:
    """Tell whether a URL points to this machine, which no proxy may come between."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Where the operations port listens, and with which keys (design section 14)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from wscore.errors import ConfigError
from wsserver.settings import is_loopback

DEFAULT_OPS_HOST: Final = "127.0.0.1"
MIN_KEY_LENGTH: Final = 16
_MEND: Final = "openssl rand -hex 32 > ops.key, then --ops-key-file ops.key"


class Right(StrEnum):
    """What a key is good for: to look at everything, or to act as well."""

    READ = "read"
    ACT = "act"


class AccessKey:
    """A key of the operations port, of which only a hash is kept; its `name` is what the audit calls its holder."""

    __slots__ = ("_digest", "name", "right")

    def __init__(self, name: str, key: str, right: Right, source: str) -> None:
        """Take a key from a `source`, an option or a variable; raises ConfigError, which shows nothing of it."""
        if len(key) < MIN_KEY_LENGTH:
            raise ConfigError(source, f"a key has {MIN_KEY_LENGTH} characters or more", _MEND)
        self.name = name
        self.right = right
        self._digest = _digest(key.encode())

    def fits(self, key: bytes) -> bool:
        """Tell whether it is this one, in a time that says nothing about how much of it is right."""
        return hmac.compare_digest(self._digest, _digest(key))

    def __repr__(self) -> str:
        return f"AccessKey({self.name!r}, {self.right!r})"


@dataclass(frozen=True, slots=True)
class PortSettings:
    """An operations port; port 0 takes a free one. Raises ConfigError for one that everybody could use."""

    port: int
    host: str = DEFAULT_OPS_HOST
    keys: tuple[AccessKey, ...] = ()

    def __post_init__(self) -> None:
        if not self.keys and not is_loopback(self.host):
            raise ConfigError(
                "--ops-host",
                f"others reach {self.host or 'every address'}, and no key is set",
                f"set WSCTL_OPS_KEY, or: {_MEND}",
            )


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()

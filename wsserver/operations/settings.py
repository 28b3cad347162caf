"""Where the operations port listens, and with which keys (design section 14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wscore.errors import ConfigError
from wsserver.operations.accesskeys import MEND
from wsserver.operations.keyring import KeyRing
from wsserver.settings import is_loopback

DEFAULT_OPS_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class PortSettings:
    """An operations port; port 0 takes a free one. Raises ConfigError for one that everybody could use."""

    port: int
    host: str = DEFAULT_OPS_HOST
    keys: KeyRing | None = None

    def __post_init__(self) -> None:
        if self.keys is None and not is_loopback(self.host):
            raise ConfigError(
                "--ops-host",
                f"others reach {self.host or 'every address'}, and no key is set",
                f"set WSCTL_OPS_KEY, or: {MEND}",
            )

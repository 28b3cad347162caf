"""Where to connect, and as whom: what the connect form asks for and a profile holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from wscore.foreign import ProtocolName


class TokenKind(StrEnum):
    """Where the token comes from."""

    GUEST = "guest"
    SUB = "sub"
    PASTED = "pasted"
    FILE = "file"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and as whom. `value` is the user, the token or the file that `kind` asks for.

    `protocol` is what the server speaks, `options` are those of the connection and of what is special about the
    protocol, as on the command line: `--proxy none --header 'X-Trace: 1'`. A `user` with a `password` is Basic auth.
    """

    url: str
    kind: TokenKind = TokenKind.GUEST
    value: str = field(default="", repr=False)
    session: str = ""
    options: str = field(default="", repr=False)
    protocol: ProtocolName = ProtocolName.AUTO
    user: str = ""
    password: str = field(default="", repr=False)

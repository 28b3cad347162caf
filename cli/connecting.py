"""What every command that connects shares: who it is, its client, and a run by lines."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from cli.output import note
from cli.secrets import read_token, read_token_file
from cli.stdout import StdoutLines
from wscore.envelope import MessageProtocol
from wscore.errors import ConfigError, WsctlError
from wscore.text import checked_text
from wscore.wallclock import now_ms

if TYPE_CHECKING:
    from cli.profiles import SavedProfile
    from wsclient import Client, DialOptions, TokenSource
    from wsclient.script import ScriptOptions
    from wscore.foreign import Frame, ProtocolSettings
    from wscore.reconnect import ReconnectPolicy

JWT_TTL_S: Final = 3600
READER_GRACE_S: Final = 1.0  # a reader of standard output that takes longer is told of


class Credentials(Struct, frozen=True):
    """Who connects: at most one of a token, a file with one, a user to mint JWTs for, or nobody; else a guest."""

    token: str | None = None
    file: Path | None = None
    sub: str | None = None
    secret: bytes | None = None
    no_token: bool = False

    def __repr__(self) -> str:
        return "Credentials(...)"

    @property
    def is_named(self) -> bool:
        """Whether a token, a file or a user is given, or that there is none."""
        return self.no_token or (self.token, self.file, self.sub) != (None, None, None)

    def check(self, *others: bool) -> None:
        """Raise ConfigError for two ways at once to say who connects; `others` are more of them."""
        given = (self.token is not None, self.file is not None, self.sub is not None, self.no_token, *others)
        if sum(given) > 1:
            ways = "--token, --token-file, --sub" + (", --no-token and --users" if others else " and --no-token")
            raise ConfigError("--token", "more than one token is given", f"use one of {ways}")

    def source(self, dial: DialOptions) -> TokenSource | None:
        """Return where the client gets its tokens, None if it makes its own.

        Raises ConfigError for two at once, and for a token or a user that no connection could have.
        """
        self.check()
        from wsclient import GuestTokens, NoToken, StaticToken

        if self.no_token:
            return NoToken()
        if self.token is not None:
            return StaticToken(read_token(self.token))
        if self.file is not None:
            file = self.file
            return _Computed(lambda: read_token_file(file))
        if self.sub is not None:
            from wscore.secrets import checked_secret
            from wscore.tokens import mint_jwt

            key, sub = checked_secret(self.secret), checked_text(self.sub, "--sub")
            return _Computed(lambda: mint_jwt(key, {"sub": sub, "exp": now_ms() // 1000 + JWT_TTL_S}))
        # The client makes unsigned guest tokens by itself, unless a header or the URL carries a token.
        return None if self.secret is None or dial.has_token else GuestTokens(now_ms, self.secret)


class Connector(Struct, frozen=True):
    """How to dial and what to speak, given what a profile has saved, and as whom where nobody is named otherwise."""

    dial: Callable[[Mapping[str, Any]], DialOptions]
    credentials: Credentials
    protocol: Callable[[Mapping[str, Any]], ProtocolSettings]

    def client(
        self,
        target: SavedProfile,
        pasted: str | None = None,
        *,
        reconnect: ReconnectPolicy | None = None,
        auto_pong: bool = True,
        rooms: Sequence[str] = (),
    ) -> Client:
        """Return a client of a target, as who is named here, else by its own or by a token that was pasted.

        Raises ConfigError for credentials that no connection could have.
        """
        from wsclient import Client

        who = self.credentials
        if not who.is_named:
            file = None if target.token_file is None else Path(target.token_file)
            who = Credentials(pasted, file, target.sub, who.secret, no_token=target.no_token)
        dial = self.dial(target.dials)
        return Client(
            target.url,
            protocol=self.protocol(target.speaks),
            token=who.source(dial),
            session_id=target.session,
            reconnect=reconnect,
            auto_pong=auto_pong,
            rooms=rooms,
            dial=dial,
        )


async def run_script(
    client: Client,
    options: ScriptOptions,
    lines: AsyncIterator[Frame],
    record: Path | None,
    captures: Mapping[str, str] | None = None,
) -> None:
    """Run a client by lines, with everything recorded to the new file `record` if there is one.

    `captures` are the variables that are taken from what comes, path by name.
    """
    from wsclient.recording import Recorder
    from wsclient.script import Script
    from wsclient.templates import TemplateContext

    recorder = None if record is None else Recorder(record)
    templates = TemplateContext(now_ms=now_ms, new_uuid=lambda: str(uuid.uuid4()), captures=captures)
    protocol = MessageProtocol(now_ms)
    out = StdoutLines()
    script = Script(client, options, protocol, templates, lines=lines, out=out, note=note, recorder=recorder)
    end: WsctlError | None = None
    try:
        await script.run()
    except WsctlError as error:
        end = error
    finally:
        if recorder is not None:
            recorder.close()
    try:
        async with asyncio.timeout(READER_GRACE_S):
            await out.below(0)
    except TimeoutError:
        why = "" if end is None else f" ({end})"
        note(f"it has ended{why}; what was received waits for whoever reads standard output: {out.waiting:,} bytes")
        await out.below(0)
    if end is not None:
        raise end


class _Computed:
    """A token source that calls a function each time."""

    def __init__(self, function: Callable[[], str]) -> None:
        self._function = function

    async def __call__(self) -> str:
        return self._function()

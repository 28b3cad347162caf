"""The options of whoever connects: where to, as whom, with what handshake, and which certificates to trust."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from cli.completion import profile_names
from cli.connecting import Connector, parse_header, tls_context
from cli.options.credentials import CredentialOptions
from cli.profiles import SavedProfile, config_path, read_profiles
from wsclient.url import DEFAULT_URL
from wscore.errors import ConfigError

if TYPE_CHECKING:
    from wsclient import DialOptions

CLOSE_TIMEOUT_S = 2  # somebody waits for the prompt

Url = Annotated[str | None, typer.Argument(metavar="URL", help="A ws:// or wss:// URL.", show_default=DEFAULT_URL)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """Where to connect, beside the URL."""

    TITLE: ClassVar = "Target"

    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Saved URL, session and user from wsctl.toml.", autocompletion=profile_names),
    ] = None
    session: Annotated[str | None, typer.Option(metavar="ID", help="Session to join.")] = None
    uds: Annotated[str | None, typer.Option(metavar="PATH", help="Connect through this Unix socket.")] = None

    def is_given(self, url: str | None) -> bool:
        """Whether somebody said where to go."""
        return any(choice is not None for choice in (url, self.profile, self.session, self.uds))

    def place(self, url: str | None, config: Path | None) -> SavedProfile:
        """Return where to connect: what is given, else what the saved profile says.

        Raises ConfigError for a profile that does not exist.
        """
        found = SavedProfile(DEFAULT_URL) if self.profile is None else self._saved(self.profile, config_path(config))
        return SavedProfile(url or found.url, self.session or found.session, found.sub, found.token_file)

    @staticmethod
    def _saved(name: str, path: Path) -> SavedProfile:
        profiles = read_profiles(path)
        if name not in profiles:
            known = f"there are {', '.join(profiles)}" if profiles else f"{path} has none"
            raise ConfigError("--profile", f"there is no {name!r}", known)
        return profiles[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeOptions:
    """What the request for the WebSocket carries."""

    TITLE: ClassVar = "Handshake"

    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="HTTP header (repeatable).")
    ] = field(default=None, repr=False)
    origin: Annotated[str | None, typer.Option(metavar="ORIGIN", help="Origin header, as a web page sends.")] = None
    subprotocol: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Subprotocol (repeatable).")] = field(
        default=None, repr=False
    )

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return all of it as headers; raises ConfigError for what no handshake can carry."""
        self.dial()
        more = [] if self.origin is None else [("Origin", self.origin)]
        if self.subprotocol:
            more.append(("Sec-WebSocket-Protocol", ", ".join(self.subprotocol)))
        return (*map(parse_header, self.header or ()), *more)

    def dial(self, *, tls: ssl.SSLContext | None = None, uds: str | None = None) -> DialOptions:
        """Return how to dial; raises ConfigError for what no handshake can carry."""
        from wsclient import DialOptions

        return DialOptions(
            headers=[parse_header(text) for text in self.header or ()],
            origin=self.origin,
            subprotocols=tuple(self.subprotocol or ()),
            tls=tls,
            uds=uds,
            close_timeout_s=CLOSE_TIMEOUT_S,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustOptions:
    """Which servers to trust."""

    TITLE: ClassVar = "TLS"

    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA certificates to trust, PEM.")] = None
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not check the TLS certificate.")] = False

    def tls(self) -> ssl.SSLContext | None:
        """Return whom to trust, None for the CAs of this machine; raises ConfigError."""
        return tls_context(self.ca, self.insecure)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """All about one connection, but for what is said over it."""

    target: TargetOptions = field(default_factory=TargetOptions)
    who: CredentialOptions = field(default_factory=CredentialOptions)
    handshake: HandshakeOptions = field(default_factory=HandshakeOptions)
    trust: TrustOptions = field(default_factory=TrustOptions)

    def connector(self) -> Connector:
        """Return what makes clients; raises ConfigError for what cannot be used."""
        dial = self.handshake.dial(tls=self.trust.tls(), uds=self.target.uds)
        return Connector(dial, self.who.credentials())


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingOptions:
    """How to keep a connection."""

    TITLE: ClassVar = "Keeping the connection"

    reconnect: Annotated[
        bool | None, typer.Option(help="Come back after a lost connection.", show_default="in a terminal")
    ] = None
    auto_pong: Annotated[bool, typer.Option(help="Answer the server's pings and do not show them.")] = True

"""The options of whoever connects: where to, as whom, and how the connection is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from cli.completion import profile_names
from cli.connecting import Connector
from cli.options.credentials import CredentialOptions
from cli.options.handshake import ClientTlsOptions, HandshakeOptions, RouteOptions
from cli.profiles import SavedProfile, config_path, read_profiles
from cli.saved import with_saved
from cli.spreading import OptionGroup
from cli.stdin import is_terminal
from wsclient.url import DEFAULT_URL
from wscore.errors import ConfigError
from wscore.foreign import ProtocolName, ProtocolSettings
from wscore.reconnect import ReconnectPolicy

WSCTL = ProtocolSettings(name=ProtocolName.WSCTL)

if TYPE_CHECKING:
    from wsclient import DialOptions

Url = Annotated[str | None, typer.Argument(metavar="URL", help="A ws:// or wss:// URL.", show_default=DEFAULT_URL)]


class TargetOptions(OptionGroup, frozen=True, kw_only=True):
    """Where to connect, beside the URL."""

    TITLE: ClassVar = "Target"

    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Saved URL, session, user and connection from wsctl.toml.",
            autocompletion=profile_names,
        ),
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
        return replace(found, url=url or found.url, session=self.session or found.session)

    @staticmethod
    def _saved(name: str, path: Path) -> SavedProfile:
        profiles = read_profiles(path)
        if name not in profiles:
            known = f"there are {', '.join(profiles)}" if profiles else f"{path} has none"
            raise ConfigError("--profile", f"there is no {name!r}", known)
        return profiles[name]


class ConnectionOptions(OptionGroup, frozen=True, kw_only=True):
    """All about one connection, but for what is said over it."""

    target: TargetOptions = TargetOptions()
    who: CredentialOptions = CredentialOptions()
    handshake: HandshakeOptions = HandshakeOptions()
    trust: ClientTlsOptions = ClientTlsOptions()
    route: RouteOptions = RouteOptions()

    def given(self) -> frozenset[str]:
        """Return the names of the options that somebody gave, to which what a profile or the form says gives way."""
        groups = (self.handshake, self.trust, self.route)
        named = {name: getattr(group, name) for group in groups for name in group.__struct_fields__}
        named |= {name: getattr(self.who, name) for name in ("token", "token_file", "sub", "no_token")}
        named["uds"] = self.target.uds
        return frozenset(name.replace("_", "-") for name, value in named.items() if value not in (None, False))

    def connector(self, protocol: Callable[[Mapping[str, Any]], ProtocolSettings] = lambda _: WSCTL) -> Connector:
        """Return what makes clients; `protocol` is what a server speaks, given what a profile has saved of it.

        Raises ConfigError for what cannot be used.
        """
        self.dial({})  # what is wrong shows now
        return Connector(self.dial, self.who.credentials(), protocol)

    def dial(self, saved: Mapping[str, Any]) -> DialOptions:
        """Return how to dial, with what a profile has `saved` where nobody says otherwise; raises ConfigError."""
        tls, route = with_saved(self.trust, saved).tls(), with_saved(self.route, saved)
        return with_saved(self.handshake, saved).dial(tls=tls, uds=self.target.uds, route=route)


class KeepingOptions(OptionGroup, frozen=True, kw_only=True):
    """How to keep a connection."""

    TITLE: ClassVar = "Keeping the connection"

    reconnect: Annotated[
        bool | None, typer.Option(help="Come back after a lost connection.", show_default="in a terminal")
    ] = None
    room: Annotated[
        list[str] | None,
        typer.Option(metavar="ROOM", help="Join this room, after each reconnect too (repeatable)."),
    ] = None
    auto_pong: Annotated[bool, typer.Option(help="Answer the server's pings and do not show them.")] = True

    def rooms(self, *others: str | None) -> list[str]:
        """Return the rooms to join, these among them."""
        return list(dict.fromkeys((*(self.room or ()), *(room for room in others if room is not None))))

    def policy(self) -> ReconnectPolicy | None:
        """Return how to come back, None if the first loss is the end."""
        comes_back = is_terminal() if self.reconnect is None else self.reconnect
        return ReconnectPolicy() if comes_back else None

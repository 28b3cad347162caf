"""The options of a handshake: what its request carries, which certificates are in play, and the way to the server."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from cli.options.tokens import refuse_empty
from cli.secrets import read_user
from cli.settings import duration_option, size_option
from cli.spreading import OptionGroup
from cli.tls import tls_context
from wscore.errors import ConfigError

if TYPE_CHECKING:
    from wsclient import DialOptions

CLOSE_TIMEOUT_S = 2  # somebody waits for the prompt


class RouteOptions(OptionGroup, frozen=True, kw_only=True):
    """The way to the server, and how long and how large things may be on it."""

    TITLE: ClassVar = "Way to the server"

    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="HTTP or SOCKS proxy; none: go straight.", show_default="that of the environment"
        ),
    ] = None
    handshake_timeout: Annotated[
        int | None, duration_option("How long it may take to connect.", show_default="10s")
    ] = None
    ping_interval: Annotated[
        int | None,
        duration_option(
            "Silence before the server is asked by a WebSocket ping; 0s: never.", show_default="20s without a heartbeat"
        ),
    ] = None
    ping_timeout: Annotated[int | None, duration_option("How long it has to answer that.", show_default="20s")] = None
    max_size: Annotated[int | None, size_option("Largest message that is received.", show_default="16MiB")] = None

    def limits(self) -> dict[str, Any]:
        """Return the fields of DialOptions for what is set."""
        from wsclient import Pings

        interval_s = None if self.ping_interval is None else self.ping_interval / 1000
        pings = Pings(interval_s) if self.ping_timeout is None else Pings(interval_s, self.ping_timeout / 1000)
        found: dict[str, Any] = {"pings": pings}
        if self.handshake_timeout is not None:
            found["open_timeout_s"] = self.handshake_timeout / 1000
        if self.max_size is not None:
            found["max_message_bytes"] = self.max_size
        return found


class HandshakeOptions(OptionGroup, frozen=True, kw_only=True):
    """What the request for the WebSocket carries."""

    TITLE: ClassVar = "Handshake"

    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="HTTP header (repeatable).")
    ] = None
    user: Annotated[
        str | None,
        typer.Option(
            "--user", "-u", metavar="USER[:PASSWORD]", help="Basic auth; asks for the password, or see WSCTL_USER."
        ),
    ] = None
    user_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File with USER:PASSWORD.")] = None
    cookie: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Cookie (repeatable).")] = None
    origin: Annotated[str | None, typer.Option(metavar="ORIGIN", help="Origin header, as a web page sends.")] = None
    subprotocol: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Subprotocol (repeatable).")] = None

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return all of it as headers; raises ConfigError for what no handshake can carry."""
        dial = self.dial()
        more = [] if self.origin is None else [("Origin", self.origin)]
        if self.subprotocol:
            more.append(("Sec-WebSocket-Protocol", ", ".join(self.subprotocol)))
        return (*dial.header_items, *more)

    def dial(
        self, *, tls: ssl.SSLContext | None = None, uds: str | None = None, route: RouteOptions = RouteOptions()
    ) -> DialOptions:
        """Return how to dial; raises ConfigError for what no handshake can carry."""
        from wsclient import DialOptions

        return DialOptions(
            headers=[*map(parse_header, self.header or ()), *self._user_header(), *self._cookie_header()],
            origin=self.origin,
            subprotocols=tuple(self.subprotocol or ()),
            tls=tls,
            uds=uds,
            close_timeout_s=CLOSE_TIMEOUT_S,
            proxy=route.proxy,
            **route.limits(),
        )

    def _user_header(self) -> list[tuple[str, str]]:
        refuse_empty(self, HandshakeOptions)
        if self.user is None and self.user_file is None:
            return []
        if self.user is not None and self.user_file is not None:
            raise ConfigError("--user", "--user-file is given too", "use one of them")
        if any(parse_header(text)[0].lower() == "authorization" for text in self.header or ()):
            raise ConfigError("--user", "--header has an Authorization too", "use one of them")
        pair = read_user(self.user, self.user_file)
        return [("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")]

    def _cookie_header(self) -> list[tuple[str, str]]:
        for text in self.cookie or ():
            if not text.partition("=")[0].strip() or "=" not in text or ";" in text:
                raise ConfigError("--cookie", "is not NAME=VALUE", "give each cookie by an option of its own")
        return [("Cookie", "; ".join(self.cookie))] if self.cookie else []


class ClientTlsOptions(OptionGroup, frozen=True, kw_only=True):
    """Which servers to trust, and the certificate to show them."""

    TITLE: ClassVar = "TLS"

    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA certificates to trust, PEM.")] = None
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not check the TLS certificate.")] = False
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Client certificate, PEM.")] = None
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its private key, PEM.", show_default="in the same file")
    ] = None

    def tls(self) -> ssl.SSLContext | None:
        """Return whom to trust and what to show, None for the CAs of this machine and nothing; raises ConfigError."""
        if self.key is not None and self.cert is None:
            raise ConfigError("--key", "there is no --cert", "give the certificate too")
        return tls_context(self.ca, self.insecure, self.cert, self.key)


def parse_header(text: str) -> tuple[str, str]:
    """Return the name and the value of `--header`; raises ConfigError."""
    name, separator, value = text.partition(":")
    if not separator or not name.strip():
        # Only the first word is repeated: what follows may be a secret.
        raise ConfigError("--header", f"{(text.split() or [text])[0]!r} is not NAME:VALUE")
    return name.strip(), value.strip(" \t")

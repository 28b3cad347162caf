"""The options that say who connects, for one connection and for all those of a load test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

import typer

from cli.connecting import Credentials
from cli.options.tokens import SecretOptions, refuse_empty
from cli.spreading import OptionGroup


class CredentialOptions(OptionGroup, frozen=True, kw_only=True):
    """Who connects: at most one of a token, a file with one, a user to mint JWTs for, or nobody; else a guest."""

    TITLE: ClassVar = "Who connects"

    token: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="Token; WSCTL_TOKEN keeps it out of the process list.")
    ] = None
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File with the token.")] = None
    sub: Annotated[str | None, typer.Option(metavar="USER", help="Mint JWTs for this user with the secret.")] = None
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Send none, not a guest's either: a cookie says who, or nobody asks.")
    ] = False
    key: SecretOptions = SecretOptions()

    def credentials(self) -> Credentials:
        """Return who connects; raises ConfigError."""
        refuse_empty(self, CredentialOptions)
        return Credentials(self.token, self.token_file, self.sub, self.key.secret(), no_token=self.no_token)


class CrowdOptions(CredentialOptions, frozen=True, kw_only=True):
    """As CredentialOptions, for many connections at once."""

    users: Annotated[
        bool, typer.Option("--users", help="Mint a JWT of another user for each connection, with the secret.")
    ] = False

"""The options about tokens: the secret that signs them, the claims in them, and which ones are good."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import typer

from cli.secrets import SECRET_VARIABLE, read_file
from cli.settings import duration_option
from cli.spreading import OptionGroup
from cli.variables import variable_of
from wscore.errors import ConfigError
from wscore.secrets import SecretEncoding, checked_secret, decode_secret

if TYPE_CHECKING:
    from wscore.tokens import ClaimNames, JwtKey

Jti = Annotated[str | None, typer.Option(metavar="ID", help="Id of the token, to revoke it by.")]
_REGISTERED: Final = {"iss", "aud", "exp", "nbf", "iat", "jti", "rooms"}  # RFC 7519 section 4.1, and ours


class SecretOptions(OptionGroup, frozen=True, kw_only=True):
    """The secret that signs JWTs and guest tokens: in a file, or in WSCTL_JWT_SECRET."""

    jwt_secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the secret (or WSCTL_JWT_SECRET); signs guests too.")
    ] = None
    jwt_secret_encoding: Annotated[SecretEncoding, typer.Option(help="How the secret is written.")] = (
        SecretEncoding.TEXT
    )

    def secret(self) -> bytes | None:
        """Return the secret, None if none is set; raises ConfigError for one that is not fit to sign with."""
        refuse_empty(self, SecretOptions)
        if self.jwt_secret_file is not None:
            source = f"--jwt-secret-file {self.jwt_secret_file}"
            written = read_file(self.jwt_secret_file, "--jwt-secret-file")
        else:
            source = SECRET_VARIABLE
            value = os.environ.get(SECRET_VARIABLE)
            if value is None:
                return None
            written = os.fsencode(value)
        return checked_secret(decode_secret(written, self.jwt_secret_encoding, source))


class GuestTokenOptions(OptionGroup, frozen=True, kw_only=True):
    """What guest token to mint."""

    TITLE: ClassVar = "Token"

    signed: Annotated[bool, typer.Option("--signed", help="Sign it with the secret.")] = False
    key: SecretOptions = SecretOptions()


class MintOptions(OptionGroup, frozen=True, kw_only=True):
    """What a JWT says."""

    TITLE: ClassVar = "Claims"

    sub: Annotated[str, typer.Option(help="User id.", metavar="USER")]
    ttl: Annotated[int, duration_option("How long it is valid.", show_default="1h")] = 3_600_000
    sid: Annotated[str | None, typer.Option(metavar="SESSION", help="Session to pin it to.")] = None
    jti: Jti = None
    scope: Annotated[str | None, typer.Option(metavar="WORDS", help="Scopes, such as admin.")] = None
    issuer: Annotated[str | None, typer.Option(metavar="ISS", help="Issuer.")] = None
    audience: Annotated[str | None, typer.Option(metavar="AUD", help="Audience.")] = None
    room: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Room to join, a name or the start of one and * (repeatable)."),
    ] = None
    claim: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Further claim, the value JSON or text (repeatable).")
    ] = None


class ClaimOptions(SecretOptions, frozen=True, kw_only=True):
    """The secret, and which claims name what."""

    TITLE: ClassVar = "Secret, and names of claims"

    user_claim: Annotated[str, typer.Option(metavar="NAME", help="Claim that names the user.")] = "sub"
    session_claim: Annotated[str, typer.Option(metavar="NAME", help="Claim that pins the session.")] = "sid"
    scope_claim: Annotated[str, typer.Option(metavar="NAME", help="Claim with the scopes.")] = "scope"

    def claim_names(self) -> ClaimNames:
        """Return the names; raises ConfigError for one that is empty or given twice."""
        from wscore.tokens import ClaimNames

        names = {
            "--user-claim": self.user_claim,
            "--session-claim": self.session_claim,
            "--scope-claim": self.scope_claim,
        }
        for option, name in names.items():
            if not name:
                raise ConfigError(option, "is empty", "name a claim; one that no token has turns it off")
            if name in _REGISTERED or list(names.values()).count(name) > 1:
                raise ConfigError(option, f"{name} has another meaning already", "give each its own claim")
        return ClaimNames(self.user_claim, self.session_claim, self.scope_claim)


class JwtOptions(ClaimOptions, frozen=True, kw_only=True):
    """Which JWTs are accepted."""

    TITLE: ClassVar = "What a server accepts"

    jwt_algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="ALG", help="HS256, RS256, ES256, EdDSA or Ed25519.", show_default="HS256 if there is only a secret"
        ),
    ] = None
    jwt_public_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file with the public key.")] = None
    jwks_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JWKS file with the public keys; a server follows its changes.")
    ] = None
    issuer: Annotated[str | None, typer.Option(metavar="ISS", help="Required iss claim.")] = None
    audience: Annotated[
        str | None, typer.Option(metavar="AUD", help="Required aud claim; without it no token may have one.")
    ] = None

    def jwt_key(self, secret: bytes | None) -> JwtKey | None:
        """Return the key that these options and the secret make, None without any; raises ConfigError."""
        refuse_empty(self, JwtOptions)
        if secret is None and self.jwt_public_key is None and self.jwks_file is None:
            if self.jwt_algorithm not in (None, "HS256"):
                mend = "give --jwt-public-key or --jwks-file"
                raise ConfigError("--jwt-algorithm", f"{self.jwt_algorithm} needs a key", mend)
            return None
        from wscore.tokens import JwtKey

        return JwtKey(
            self.jwt_algorithm,
            secret=secret,
            public_key_pem=None if self.jwt_public_key is None else read_file(self.jwt_public_key, "--jwt-public-key"),
            jwks_json=None if self.jwks_file is None else read_file(self.jwks_file, "--jwks-file"),
        )


def refuse_empty(options: object, group: Any) -> None:
    """Raise ConfigError for a variable that is set but empty where it would name an option of the group.

    Elsewhere that means the default; here the default is to be a guest, to check less, or to be open to more.
    """
    for name in group.__struct_fields__:
        if getattr(options, name) in (None, []):
            refuse_empty_variable(variable_of(name))


def refuse_empty_variable(variable: str) -> None:
    """Raise ConfigError for a variable that is set but empty, or has nothing but spaces."""
    if not os.environ.get(variable, "set").strip():
        raise ConfigError(variable, "is set but empty", "unset it, or give it a value")

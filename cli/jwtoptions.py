"""The options that say which JWTs are good, shared by who verifies, mints and inspects them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.secrets import SecretOptions, read_file, refuse_empty
from wscore.errors import ConfigError

if TYPE_CHECKING:
    from wscore.tokens import ClaimNames, JwtKey

_REGISTERED: Final = {"iss", "aud", "exp", "nbf", "iat", "jti"}  # RFC 7519 section 4.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOptions(SecretOptions):
    """The secret, and which claims name what."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtOptions(ClaimOptions):
    """Which JWTs are accepted."""

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

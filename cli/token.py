"""`wsctl token`: mint guest tokens and JWTs, and say what is wrong with one."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.clock import now_ms
from cli.exits import ExitCode
from cli.inspection import Keys, inspect_token
from cli.output import out, out_json, table
from cli.secrets import read_file, read_jwt_secret
from cli.settings import ConfigFile, duration_option
from wscore.errors import ConfigError
from wscore.guest import mint_guest_token
from wscore.principal import AuthError
from wscore.tokens import check_claims, checked_secret, mint_jwt

app = typer.Typer(
    help="Mint and inspect guest tokens and JWTs.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SecretFile = Annotated[Path | None, typer.Option(help="File with the secret, at least 32 bytes (or WSCTL_JWT_SECRET).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# Claims with an option of their own: given twice, they could contradict each other.
_OWN_OPTIONS = {
    "sub": "--sub",
    "exp": "--ttl",
    "sid": "--sid",
    "scope": "--scope",
    "iss": "--issuer",
    "aud": "--audience",
}


@app.command()
def guest(
    signed: Annotated[bool, typer.Option("--signed", help="Sign it with the secret.")] = False,
    jwt_secret_file: SecretFile = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Mint a guest token.

    It is valid for 24 hours unless the server says otherwise.
    """
    secret = checked_secret(read_jwt_secret(jwt_secret_file)) if signed else None
    guest_id, minted_ms = uuid.uuid4(), now_ms()
    token = mint_guest_token(guest_id, minted_ms, secret)
    if json:
        out_json({"token": token, "userId": f"guest_{guest_id}", "issuedAtMs": minted_ms, "signed": signed})
    else:
        out(token)


@app.command()
def jwt(
    sub: Annotated[str, typer.Option(help="User id.", metavar="USER")],
    ttl: Annotated[int, duration_option("How long it is valid.", show_default="1h")] = 3_600_000,
    sid: Annotated[str | None, typer.Option(metavar="SESSION", help="Session to pin it to.")] = None,
    scope: Annotated[str | None, typer.Option(metavar="WORDS", help="Scopes, such as admin.")] = None,
    issuer: Annotated[str | None, typer.Option(metavar="ISS", help="Issuer.")] = None,
    audience: Annotated[str | None, typer.Option(metavar="AUD", help="Audience.")] = None,
    claim: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Further claim, the value JSON or text (repeatable).")
    ] = None,
    jwt_secret_file: SecretFile = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Mint a JWT, signed with HS256."""
    minted_ms = now_ms()
    now_s = minted_ms // 1000
    claims: dict[str, Any] = {"sub": sub, "iat": now_s, "exp": now_s + max(1, ttl // 1000)}
    named = {"sid": sid, "scope": scope, "iss": issuer, "aud": audience}
    claims |= {name: value for name, value in named.items() if value is not None}
    claims |= dict(_claim(text) for text in claim or ())
    try:
        check_claims(claims, minted_ms)
    except AuthError as error:  # no server would accept what is asked for
        raise ConfigError("token jwt", error.reason) from None
    token = mint_jwt(checked_secret(read_jwt_secret(jwt_secret_file)), claims)
    if json:
        out_json({"token": token, "claims": claims})
    else:
        out(token)


@app.command()
def inspect(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token, or - to read it from standard input.")],
    jwt_secret_file: SecretFile = None,
    jwt_algorithm: Annotated[str, typer.Option(metavar="ALG", help="HS256, RS256, ES256 or EdDSA.")] = "HS256",
    jwt_public_key: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file with the public key.")] = None,
    jwks_file: Annotated[Path | None, typer.Option(metavar="FILE", help="JWKS file with the public keys.")] = None,
    issuer: Annotated[str | None, typer.Option(metavar="ISS", help="Required issuer.")] = None,
    audience: Annotated[str | None, typer.Option(metavar="AUD", help="Required audience.")] = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Say whether a token is valid.

    Says until when it is, or which rule refuses it, and exits with 4 if one does. A server's key settings given
    here make this check what that server would; without a key a signature is not checked, and this says so.
    TOKEN as - keeps the token out of the process list.
    """
    text = token if token != "-" else sys.stdin.readline().strip() if sys.stdin is not None else ""
    if not text:
        raise ConfigError("TOKEN", "is empty", "give a token, or - with one on standard input")
    keys = Keys(
        jwt_algorithm,
        read_jwt_secret(jwt_secret_file),
        None if jwt_public_key is None else read_file(jwt_public_key, "--jwt-public-key"),
        None if jwks_file is None else read_file(jwks_file, "--jwks-file"),
        issuer,
        audience,
    )
    report = inspect_token(text, keys, now_ms())
    if json:
        out_json(report)
    else:
        table((name, value if isinstance(value, str) else _compact(value)) for name, value in report.items())
    if report["verdict"] == "refused":
        raise typer.Exit(ExitCode.AUTH_REFUSED)


def _claim(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigError("--claim", f"{text!r} is not KEY=VALUE")
    if name in _OWN_OPTIONS:
        raise ConfigError("--claim", f"{name} has an option of its own", f"use {_OWN_OPTIONS[name]}")
    if name == "iat":
        raise ConfigError("--claim", "iat is always the time of minting", "leave it out")
    try:
        return name, json.loads(value, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return name, value


def _no_number(word: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(word)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)

"""`wsctl token`: mint guest tokens and JWTs, and say what is wrong with one."""

from __future__ import annotations

import codecs
import json
import sys
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.exits import ExitCode
from cli.grouped import GroupedCommand
from cli.inspection import Rules, inspect_token
from cli.options.output import Json
from cli.options.tokens import ClaimOptions, GuestTokenOptions, JwtOptions, MintOptions
from cli.output import out, out_json, table
from cli.settings import ConfigFile
from cli.spreading import spread
from wscore.errors import ConfigError
from wscore.guest import mint_guest_token
from wscore.principal import AuthError
from wscore.secrets import checked_secret
from wscore.tokens import check_claims, mint_jwt
from wscore.wallclock import now_ms

app = typer.Typer(
    help="Mint and inspect guest tokens and JWTs.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(cls=GroupedCommand)
@spread
def guest(*, options: GuestTokenOptions, json: Json = False, config: ConfigFile = None) -> None:
    """Mint a guest token.

    It is valid for 24 hours unless the server says otherwise.
    """
    secret = checked_secret(options.key.secret()) if options.signed else None
    guest_id, minted_ms = uuid.uuid4(), now_ms()
    token = mint_guest_token(guest_id, minted_ms, secret)
    if json:
        out_json({"token": token, "userId": f"guest_{guest_id}", "issuedAtMs": minted_ms, "signed": options.signed})
    else:
        out(token)


@app.command(cls=GroupedCommand)
@spread
def jwt(*, wanted: MintOptions, key: ClaimOptions, json: Json = False, config: ConfigFile = None) -> None:
    """Mint a JWT, signed with HS256."""
    minted_ms, names = now_ms(), key.claim_names()
    now_s = minted_ms // 1000
    # A claim that has an option of its own cannot be given twice: the two could contradict each other.
    own = {
        names.user: ("--sub", wanted.sub),
        "exp": ("--ttl", now_s + max(1, wanted.ttl // 1000)),
        names.session: ("--sid", wanted.sid),
        "jti": ("--jti", wanted.jti),
        names.scope: ("--scope", wanted.scope),
        "rooms": ("--room", wanted.room or None),
        "iss": ("--issuer", wanted.issuer),
        "aud": ("--audience", wanted.audience),
    }
    claims: dict[str, Any] = {"iat": now_s} | {name: value for name, (_, value) in own.items() if value is not None}
    options = {name: option for name, (option, _) in own.items()}
    claims |= dict(_claim(text, options) for text in wanted.claim or ())
    try:
        check_claims(claims, minted_ms, issuer=wanted.issuer, audience=wanted.audience, names=names)
    except AuthError as error:  # no server would accept what is asked for
        raise ConfigError("token jwt", error.reason) from None
    token = mint_jwt(checked_secret(key.secret()), claims)
    if json:
        out_json({"token": token, "claims": claims})
    else:
        out(token)


@app.command(cls=GroupedCommand)
@spread
def inspect(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The token, or - to read it from standard input.")],
    *,
    rules: JwtOptions,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Say whether a token is valid.

    Says until when it is, or which rule refuses it, and exits with 4 if one does. A server's key settings given
    here make this check what that server would; without a key a signature is not checked, and this says so.
    TOKEN as - keeps the token out of the process list.
    """
    text = _line_of_input() if token == "-" else token
    if not text:
        raise ConfigError("TOKEN", "is empty", "give a token, or - with one on standard input")
    secret = rules.secret()
    against = Rules(rules.jwt_key(secret), secret, rules.issuer, rules.audience, rules.claim_names())
    report = inspect_token(text, against, now_ms())
    if json:
        out_json(report)
    else:
        table((name, value if isinstance(value, str) else _compact(value)) for name, value in report.items())
    if report["verdict"] == "refused":
        raise typer.Exit(ExitCode.AUTH_REFUSED)


def _line_of_input() -> str:
    if sys.stdin is None:  # it was closed
        return ""
    line = sys.stdin.buffer.readline().removeprefix(codecs.BOM_UTF8)
    return line.strip().decode(errors="surrogateescape")


def _claim(text: str, own_options: Mapping[str, str]) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigError("--claim", f"{text!r} is not KEY=VALUE")
    if name in own_options:
        raise ConfigError("--claim", f"{name} has an option of its own", f"use {own_options[name]}")
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

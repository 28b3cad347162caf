"""`wsctl revoke`: makes tokens worthless at a running server or cluster, and ends their connections."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.operating import confirm
from cli.options.operator import OperatorOptions
from cli.options.output import Json
from cli.options.revoking import RevokeOptions
from cli.output import out, out_json
from cli.settings import ConfigFile
from cli.spreading import spread
from wscore.errors import ConfigError
from wscore.text import neutralise
from wscore.wallclock import now_ms


@spread
def revoke(
    who: Annotated[str | None, typer.Argument(metavar="USER", help="The tokens of this user.")] = None,
    *,
    what: RevokeOptions,
    target: OperatorOptions,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Revoke a user's tokens, or one token, or all that are older than a moment.

    Their connections end within 2 s with 4001, and nobody comes back with such a token. At a terminal it asks first:
    it cannot be taken back.
    """
    if what.jti is not None and (who is not None or what.issued_before is not None):
        raise ConfigError("--jti", "names one token", "leave out USER and --issued-before")
    at_ms = now_ms()
    before_ms = what.issued_before_ms(at_ms)
    if what.jti is None and who is None and before_ms is None:
        raise ConfigError("wsctl revoke", "what?", "name a USER, a --jti or --issued-before")
    named = _named(who, what.jti, before_ms)
    confirm(f"revoke {named}?", yes=what.yes)
    with target.asking() as publisher:
        result = publisher.revoke(
            jti=what.jti,
            user_id=who,
            issued_before_ms=before_ms,
            expires_at_ms=None if what.keep is None else at_ms + what.keep,
        )
    if json:
        out_json({"expiresAtMs": result.expires_at_ms})
    else:
        out(f"revoked {neutralise(named)}, until {_time(result.expires_at_ms)}")


def _named(who: str | None, jti: str | None, before_ms: int | None) -> str:
    if jti is not None:
        return f"the token {jti}"
    whose = "all tokens of everybody" if who is None else f"all tokens of user {who}"
    return whose if before_ms is None else f"{whose} issued before {_time(before_ms)}"


def _time(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError):
        return "after the year 9999"


command = revoke

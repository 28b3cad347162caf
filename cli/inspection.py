"""What `wsctl token inspect` finds out about a token; nothing of its signature is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from wscore.guest import GUEST_PREFIX, GuestMode, GuestVerifier
from wscore.principal import AuthError
from wscore.tokens import MAX_EXP_S, ClaimNames, JwtKey, JwtVerifier, check_claims, unverified_claims
from wscore.units import format_duration


@dataclass(frozen=True, slots=True)
class Rules:
    """What a server would check a token against: `key` for JWTs, `secret` for signed guests."""

    key: JwtKey | None = None
    secret: bytes | None = field(default=None, repr=False)
    issuer: str | None = None
    audience: str | None = None
    names: ClaimNames = ClaimNames()


def inspect_token(token: str, rules: Rules, now_ms: int) -> dict[str, Any]:
    """Return facts about a token in the order to show them.

    `verdict` is `valid`, `refused`, or `unverified` for a JWT that would pass but whose signature nobody
    checked.
    """
    return (
        _inspect_guest(token, rules, now_ms) if token.startswith(GUEST_PREFIX) else _inspect_jwt(token, rules, now_ms)
    )


def _inspect_guest(token: str, rules: Rules, now_ms: int) -> dict[str, Any]:
    is_signed = token.count("_") == 3
    checks = is_signed and rules.secret is not None
    verifier = GuestVerifier(GuestMode.SIGNED if checks else GuestMode.UNSIGNED, secret=rules.secret)
    report: dict[str, Any] = {"kind": "guest, signed" if is_signed else "guest"}
    try:
        principal = verifier.verify(token, now_ms)
    except AuthError as error:
        return report | _refused(error)
    report |= {"verdict": "valid", "user": principal.user_id}
    if is_signed and not checks:
        report["signature"] = "not checked: no secret given"
    return report | {"expires": _moment(principal.expires_at_ms, now_ms)}


def _inspect_jwt(token: str, rules: Rules, now_ms: int) -> dict[str, Any]:
    report: dict[str, Any] = {"kind": "JWT"}
    try:
        header, claims = unverified_claims(token)
    except AuthError as error:
        return report | _refused(error)
    facts: dict[str, Any] = {"algorithm": str(header.get("alg")), "claims": claims}
    for name, claim in (("issued", "iat"), ("expires", "exp")):
        value = claims.get(claim)
        if isinstance(value, int | float) and 0 <= value <= MAX_EXP_S:
            facts[name] = _moment(int(value * 1000), now_ms)
    try:
        if rules.key is not None:
            JwtVerifier(rules.key, issuer=rules.issuer, audience=rules.audience, names=rules.names).verify(
                token, now_ms
            )
        else:
            facts["signature"] = "not checked: no key given"
            check_claims(claims, now_ms, issuer=rules.issuer, audience=rules.audience, names=rules.names)
    except AuthError as error:
        return report | _refused(error) | facts
    return report | {"verdict": "unverified" if rules.key is None else "valid"} | facts


def _refused(error: AuthError) -> dict[str, str]:
    return {"verdict": "refused", "rule": error.rule, "reason": error.reason, "code": str(error.code)}


def _moment(at_ms: int, now_ms: int) -> str:
    text = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    distance = _rough(abs(at_ms - now_ms))
    return f"{text} (in {distance})" if at_ms > now_ms else f"{text} ({distance} ago)"


def _rough(ms: int) -> str:
    """Round a duration to its largest unit: nobody counts the seconds of a day."""
    for unit_ms in (86_400_000, 3_600_000, 60_000):
        if ms >= 2 * unit_ms:
            return format_duration(ms // unit_ms * unit_ms)
    return format_duration(ms // 1000 * 1000) if ms >= 1000 else "less than a second"

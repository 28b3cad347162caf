"""`wsctl explain`: what a close code, a disconnect, an error code or a message type means and what to do about it."""

from __future__ import annotations

import difflib
from typing import Annotated, Any

import typer

from cli.completion import code_names
from cli.options.apps import AppOptions
from cli.options.output import Json
from cli.output import note, out, out_json, table
from cli.settings import ConfigFile
from cli.spreading import spread
from wscore.codes import CLOSES, ERRORS, CloseCode, CloseSpec, ErrorCode, ErrorSpec, close_action
from wscore.disconnects import DISCONNECTS, Disconnect
from wscore.errors import ConfigError
from wscore.messages import MESSAGES, MessageSpec, Owner


@spread
def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE",
            help="Such as 4002, slow-consumer, AUTH_EXPIRED or session_created; none: list all.",
            autocompletion=code_names,
        ),
    ] = None,
    *,
    looked_at: AppOptions,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Explain a close code, a disconnect, an error code or a message type."""
    app = looked_at.app
    own = {} if app is None else _own_facts(app)
    facts = [_find(code, own)] if code is not None else _all() if app is None else list(own.values())
    if json:
        for fact in facts:
            out_json(fact)
    elif not facts:
        note(f"{app} handles no message, and declares none that it sends and no error code")
    elif code is None:
        table(_listed(fact) for fact in facts)
    else:
        (fact,) = facts
        out(" ".join(filter(None, (fact.pop("code"), fact.pop("name", "")))))
        table(((name, text) for name, text in fact.items() if isinstance(text, str)), indent="  ")


def _listed(fact: dict[str, Any]) -> tuple[str, ...]:
    """Return its row in a list: of an app's own type also who sends it, and with which data."""
    if "schema" not in fact and "handled by" not in fact:
        return fact["code"], fact["meaning"]
    return fact["code"], f"{fact['sent']}: {fact['data']}"


def _own_facts(path: str) -> dict[str, dict[str, Any]]:
    from cli.appfacts import facts_of
    from cli.loading import load_app

    return {fact["code"]: fact for fact in facts_of(load_app(path, "--app"))}


def _all() -> list[dict[str, str]]:
    closes, disconnects = map(_close, CLOSES.values()), map(_disconnect, DISCONNECTS.values())
    return [*closes, *disconnects, *map(_error, ERRORS.values()), *map(_message, MESSAGES.values())]


def _find(text: str, own: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if text in own:
        return own[text]
    if text.isdecimal() and text.isascii():
        number = int(text)
        return _close(CLOSES[CloseCode(number)]) if number in set(CloseCode) else _unlisted(number)
    if text.upper() in set(ErrorCode):
        return _error(ERRORS[ErrorCode(text.upper())])
    if text.lower() in DISCONNECTS:
        return _disconnect(DISCONNECTS[text.lower()])
    if text in MESSAGES:
        return _message(MESSAGES[text])
    known = {str(name).lower(): str(name) for name in (*own, *ErrorCode, *DISCONNECTS, *MESSAGES)}
    close = difflib.get_close_matches(text.lower(), known, n=1)
    mend = f"did you mean {known[close[0]]}?" if close else "`wsctl explain` lists all"
    raise ConfigError(text, "is no known code, disconnect or message type", mend)


def _close(spec: CloseSpec) -> dict[str, str]:
    facts = {
        "code": str(spec.code.value),
        "name": spec.name,
        "meaning": spec.meaning,
        "client": str(spec.action),
        "remedy": spec.remedy,
    }
    names = [disconnect.name for disconnect in DISCONNECTS.values() if disconnect.close_code == spec.code]
    return facts | {"disconnects": ", ".join(names)} if names else facts


def _disconnect(disconnect: Disconnect) -> dict[str, str]:
    close = CLOSES[CloseCode(disconnect.close_code)]
    return {
        "code": disconnect.name,
        "meaning": disconnect.meaning,
        "close code": f"{close.code.value} {close.name}",
        "reason": disconnect.reason or "says what exactly",
        "error before": disconnect.error or "none",
        "client": str(disconnect.action),
        "remedy": close.remedy,
    }


def _unlisted(number: int) -> dict[str, str]:
    ranges = (
        (1000, 2999, "Reserved for the WebSocket protocol (RFC 6455 section 7.4.2); wsctl neither sends nor knows it."),
        (3000, 3999, "Registered with IANA for libraries and frameworks; wsctl does not send it."),
        (4000, 4999, "For private use; this code belongs to the application that sent it."),
    )
    for low, high, meaning in ranges:
        if low <= number <= high:
            return {"code": str(number), "meaning": meaning, "client": str(close_action(number))}
    raise ConfigError(str(number), "is no close code", "close codes are 1000 to 4999 (RFC 6455 section 7.4)")


def _error(spec: ErrorSpec) -> dict[str, str]:
    after = [
        f"{disconnect.name} ({int(disconnect.close_code)})"
        for disconnect in DISCONNECTS.values()
        if disconnect.error is spec.code
    ]
    return {
        "code": str(spec.code),
        "meaning": spec.meaning,
        "remedy": spec.remedy,
        "retryable": "yes" if spec.retryable else "no",
        "connection": f"may precede the disconnect {' or '.join(after)}" if after else "stays open",
    }


def _message(spec: MessageSpec) -> dict[str, str]:
    facts = {"code": spec.type, "meaning": spec.explanation}
    if spec.payload is not None:
        facts["data"] = ", ".join(spec.payload.__struct_encode_fields__)
    else:
        facts["data"] = "any JSON" if spec.owner is Owner.APP else "none"
    facts["sent"] = spec.direction.value
    facts["belongs to"] = spec.owner.value
    if spec.answered_by is not None:
        facts["answered by"] = spec.answered_by
    if spec.lossy:
        facts["delivery"] = "a slow reader may miss it"
    return facts


command = explain

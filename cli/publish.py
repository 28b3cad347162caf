"""`wsctl publish`: sends a message to rooms, sessions and users of a running server or cluster, from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from msgspec import UNSET

from cli.exits import ExitCode
from cli.options.operator import OperatorOptions, PublishOptions, TargetsOptions
from cli.options.output import Json
from cli.output import note, out, out_json
from cli.settings import ConfigFile
from cli.spreading import spread
from cli.stdin import read_stdin
from wscore.errors import ConfigError
from wscore.operations import TargetResult
from wscore.text import checked_text, neutralise

if TYPE_CHECKING:
    from wsclient.publishing.publisher import Publisher

MAX_DATA_BYTES = 1 << 20  # what the port takes


@spread
def publish(
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="Its data, as JSON; -: from standard input; none: no data.")
    ] = None,
    *,
    message: PublishOptions,
    targets: TargetsOptions,
    target: OperatorOptions,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Publish a message to rooms, sessions and users.

    It says where the server has stored it. Exits with 0 only if the server has accepted it for all of them.
    """
    named = [("room", name) for name in targets.room or ()]
    named += [("session", name) for name in targets.session or ()]
    named += [("user", name) for name in targets.user or ()]
    if not named:
        raise ConfigError("wsctl publish", "for whom?", "give --room, --session or --user")
    content = _data(data, is_text=message.text)
    with target.asking() as publisher:
        results = _published(publisher, message, content, named)
    if json:
        out_json({"results": msgspec.to_builtins(results)})
    else:
        for result in results:
            _tell(result)
    if any(result.error is not None for result in results):
        raise typer.Exit(ExitCode.FAILED)


def _published(
    publisher: Publisher, message: PublishOptions, content: object, named: list[tuple[str, str]]
) -> list[TargetResult]:
    common: dict[str, Any] = {
        "user_id": message.sender,
        "lossy": message.lossy,
        "idempotency_key": message.idempotency_key,
    }
    try:
        if len(named) == 1:
            ((kind, name),) = named
            one_target: dict[str, Any] = {kind: name}
            place = publisher.publish(message.type, content, **one_target, **common)
            return [msgspec.structs.replace(TargetResult(epoch=place.epoch, seq=place.seq), **one_target)]
        each: dict[str, Any] = {f"{kind}s": [name for k, name in named if k == kind] for kind, _ in named}
        return publisher.broadcast(message.type, content, **each, **common).results
    except UnicodeEncodeError:  # a ValueError too, and of any argument
        raise
    except ValueError as error:
        raise ConfigError("--idempotency-key", f"{error}") from None


def _tell(result: TargetResult) -> None:
    whom = neutralise(_whom(result))
    if result.error is not None:
        note(f"wsctl: not published to {whom}: {result.error.code}: {result.error.message}")
    elif result.seq is None:
        out(f"published to {whom}")
    else:
        out(f"published to {whom} as seq {result.seq}")


def _whom(result: TargetResult) -> str:
    """Return whom it was for: the field that has a name."""
    named = (("room", result.room), ("session", result.session), ("user", result.user))
    return next((f"{kind} {name}" for kind, name in named if name is not None), "")


def _data(given: str | None, *, is_text: bool) -> object:
    """Return the data of the message; raises ConfigError."""
    if given is None:
        if is_text:
            raise ConfigError("--text", "there is no text", "give one, or - for standard input")
        return UNSET
    if given == "-":
        source, content = "standard input", read_stdin(MAX_DATA_BYTES)
    else:
        source, content = "DATA", checked_text(given, "DATA").encode()
    try:
        if is_text:
            return content.decode().removesuffix("\n")
        msgspec.json.decode(content)
        return msgspec.Raw(content)
    except UnicodeDecodeError:
        raise ConfigError(source, "is not text in UTF-8") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(source, f"is not JSON: {error}", "--text sends it as a text") from None


command = publish

"""What an app says of itself, as `wsctl explain --app` shows it: types that it handles and sends, and error codes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from wscore.messages import MESSAGES, Direction
from wscore.rooms import RoomAccess
from wsserver import fan_out
from wsserver.sdk.datatypes import schema_of
from wsserver.sdk.handlers import underlying

if TYPE_CHECKING:
    from wsserver import App
    from wsserver.sdk.errors import AppErrorCode
    from wsserver.sdk.handlers import Handler

Facts = dict[str, Any]
_DEEPEST: Final = 4  # a type within a type within a type: what is deeper is in the schema, and may be without end
_ROOMS: Final = {
    None: "may name one",
    RoomAccess.LISTEN: "must name one; whoever is in it may send it",
    RoomAccess.PUBLISH: "must name one; whoever may publish there may send it",
}


def facts_of(app: App) -> Iterator[Facts]:
    """Yield what there is to say of each type and each error code, in the order in which the app names them."""
    for type, handler in app.handlers.items():
        yield _handled(app, type, handler)
    for type, kind in app.sent.items():
        if type not in app.handlers:
            yield {"code": type, "meaning": "Sent by the app.", **_data(kind), "sent": Direction.SERVER.value}
    for code in app.errors.values():
        yield _error(code)


def _handled(app: App, type: str, handler: Handler) -> Facts:
    text = inspect.getdoc(underlying(handler.function)) or f"Handled by {handler.name}."
    direction = Direction.BOTH if type in app.sent else Direction.CLIENT
    if handler.function is fan_out and type in MESSAGES:
        text, direction = MESSAGES[type].explanation, MESSAGES[type].direction
    facts: Facts = {"code": type, "meaning": " ".join(text.partition("\n\n")[0].split())}
    facts |= _data(handler.data_type) if handler.takes_data else {"data": "none"}
    facts["sent"] = direction.value
    if type in app.sent:
        facts |= {f"{name} from the server": value for name, value in _data(app.sent[type]).items()}
    if type in app.replies:
        facts |= {f"reply {name}": value for name, value in _data(app.replies[type]).items()}
    facts["room"] = _ROOMS[handler.room]
    if handler.outlives_client:
        facts["its client gone"] = "it is handled all the same"
    return facts | {"handled by": handler.name}


def _error(code: AppErrorCode) -> Facts:
    return {
        "code": str(code),
        "meaning": code.meaning or "The app says it with each error.",
        "retryable": "yes" if code.retryable else "no",
        "connection": "stays open, unless it is refused with it",
    }


def _data(kind: Any) -> Facts:
    schema = schema_of(kind)
    return {"data": _outline(schema, schema), "schema": schema}


def _outline(schema: Any, root: Facts) -> str:
    """Return a schema in a line: the fields of an object, with `?` behind those that may be absent, else its type.

    Where the data is of one of several kinds, or a list, those are told so.
    """
    found = _resolved(schema, root)
    if "anyOf" in found:
        parts = ((part, "properties" in _resolved(part, root)) for part in found["anyOf"])
        return " or ".join(f"({_outline(part, root)})" if is_object else _type(part, root) for part, is_object in parts)
    if "properties" in _resolved(found.get("items"), root):
        return f"array of ({_outline(found['items'], root)})"
    if "properties" not in found:
        return _type(found, root)
    needed = found.get("required", ())
    return ", ".join(
        f"{name}{'' if name in needed else '?'}: {_type(field, root)}" for name, field in found["properties"].items()
    )


def _type(schema: Any, root: Facts, depth: int = 0) -> str:
    """Return what a value may be, in a word or a few; an object within by its name."""
    found = _resolved(schema, root)
    if depth == _DEEPEST:
        return "any JSON"
    if "anyOf" in found:
        return " or ".join(dict.fromkeys(_type(part, root, depth + 1) for part in found["anyOf"]))
    for values in (found.get("enum"), [found["const"]] if "const" in found else None):
        if values is not None:
            return " or ".join(json.dumps(value, ensure_ascii=False) for value in values)
    kind = found.get("type", "any JSON")
    if kind == "array" and isinstance(found.get("items"), dict) and found["items"]:
        return f"array of {_type(found['items'], root, depth + 1)}"
    values = found.get("additionalProperties")
    if kind == "object" and isinstance(values, dict) and values and "properties" not in found:
        return f"object of {_type(values, root, depth + 1)}"
    return str(found.get("title", kind)) if kind == "object" else str(kind)


def _resolved(schema: Any, root: Facts) -> Facts:
    """Follow a reference within the schema."""
    found: Any = schema if isinstance(schema, dict) else {}
    while "$ref" in found:
        name = found["$ref"].rpartition("/")[2]
        found = root["$defs"][name]
    return dict(found)

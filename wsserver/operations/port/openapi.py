"""The OpenAPI 3.1 document of the API, made of its table and its types."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from wscore.operations import ErrorBody
from wsserver.operations.accesskeys import Right
from wsserver.operations.port.idempotency import KEPT_S
from wsserver.operations.port.reading import MAX_BODY_BYTES
from wsserver.operations.port.replies import JSON
from wsserver.operations.port.table import PREFIX, ROWS, ApiRoute
from wsserver.operations.problems import STATUS

REF: Final = "#/components/schemas/{name}"
_DESCRIPTION: Final = (
    "What operators and backends ask of a wsctl server, whichever of its processes has the connections. "
    f"Bodies are JSON of at most {MAX_BODY_BYTES} bytes; what is not known is refused. "
    "Where `missing` names processes, they did not answer within a second, and the answer is without them."
)
_IDEMPOTENCY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": f"The same request with the same key is done once within {KEPT_S / 60:g} minutes.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 64},
}


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    bodies = [row.asks for row in ROWS if row.has_body]
    _, components = msgspec.json.schema_components(
        [*bodies, *(row.answers for row in ROWS), ErrorBody], ref_template=REF
    )
    paths: dict[str, dict[str, Any]] = {}
    for row in ROWS:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {"title": "wsctl operations", "version": PREFIX.rpartition("/")[2], "description": _DESCRIPTION},
        "paths": paths,
        "security": [{"key": []}],
        "components": {
            "schemas": {name: _schema(schema) for name, schema in sorted(components.items())},
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of the port; none where the port has none.",
                }
            },
        },
    }


def _operation(row: ApiRoute) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": row.name.replace("/", ".") + (".remove" if row.method == "DELETE" else ""),
        "summary": row.summary,
        "description": "A read-only key will do." if row.right is Right.READ else "Needs a key that may act.",
        "parameters": [_IDEMPOTENCY] if row.has_body else _parameters(row),
        "responses": {
            "200": _content(row.answers, row.answers.__doc__ or ""),
            "default": _content(
                ErrorBody, "Not done: " + ", ".join(sorted({str(int(code)) for code in STATUS.values()}))
            ),
        },
    }
    if row.has_body:
        operation["requestBody"] = {"required": True, **_content(row.asks)}
    return operation


def _parameters(row: ApiRoute) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([row.asks], ref_template=REF)
    schema = components[row.asks.__name__]
    parameters: list[dict[str, Any]] = []
    for name, shape in schema["properties"].items():
        kinds = [kind for kind in shape.get("anyOf", [shape]) if kind.get("type") != "null"]
        kind = {key: value for key, value in {**kinds[0]}.items() if key != "description"}
        if shape.get("default") is not None:
            kind["default"] = shape["default"]
        description = kinds[0].get("description", "")
        required = name in schema.get("required", [])
        parameters.append(
            {"name": name, "in": "query", "required": required, "description": description, "schema": kind}
        )
    return parameters


def _content(kind: type[msgspec.Struct], description: str = "") -> dict[str, Any]:
    content: dict[str, Any] = {"content": {JSON: {"schema": {"$ref": REF.format(name=kind.__name__)}}}}
    return {"description": description, **content} if description else content


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in which `act` names an act of a batch, and may be left out at a route of its own."""
    if "description" in schema:
        schema = {**schema, "description": schema["description"].partition("\n\n")[0]}
    properties = schema.get("properties", {})
    if "act" in properties:
        return {**schema, "required": [name for name in schema["required"] if name != "act"]}
    items = properties.get("acts", {}).get("items")
    if items is not None:
        each = [{"allOf": [kind, {"required": ["act"]}]} for kind in items["anyOf"]]
        return {**schema, "properties": {"acts": {**properties["acts"], "items": {"anyOf": each}}}}
    return schema

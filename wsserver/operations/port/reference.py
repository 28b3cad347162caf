"""The OpenAPI document as a page that people read: nothing is loaded for it, and no script runs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Any, Final

Table = list[tuple[str, str, str]]  # name, kind, meaning

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:3rem auto;padding:0 1rem}"
    "body{color:#222;background:#fff}"
    "table{border-collapse:collapse}td{border-top:1px solid #ccc;padding:.2rem .8rem .2rem 0;vertical-align:top}"
    "code{background:#f2f2f2}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}code{background:#262626}}"
)
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(document: dict[str, Any]) -> Iterator[tuple[str, str, Table, str]]:
    """Yield each route: `GET /path`, its summary, what it is asked, and the name of what it answers."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            asked = [_parameter(parameter) for parameter in operation["parameters"]]
            body = operation.get("requestBody")
            if body is not None:
                asked += fields(document, _name(next(iter(body["content"].values()))["schema"]))
            answer = next(iter(operation["responses"]["200"]["content"].values()))["schema"]
            yield (
                f"{method.upper()} {path}",
                f"{operation['summary']}. {operation['description']}",
                asked,
                _name(answer),
            )


def answers(document: dict[str, Any]) -> Iterator[tuple[str, str, Table]]:
    """Yield each type that is answered or is part of one: its name, what it is, and its fields."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    bodies = [operation["requestBody"]["content"] for operation in operations if "requestBody" in operation]
    asked = {_name(content["schema"]) for body in bodies for content in body.values()}
    for name, schema in document["components"]["schemas"].items():
        if name not in asked and "properties" in schema:
            yield name, schema.get("description", ""), fields(document, name)


def fields(document: dict[str, Any], name: str) -> Table:
    """Return the fields of a type."""
    schema = document["components"]["schemas"][name]
    required = schema.get("required", [])
    return [
        (field, _kind(shape) + (", required" if field in required else ""), _meaning(shape))
        for field, shape in schema["properties"].items()
    ]


def html(document: dict[str, Any]) -> str:
    """Return the page."""
    parts = [
        f"<h1>{escape(document['info']['title'])}</h1><p>{escape(document['info']['description'])}</p>",
        '<p>The document itself: <a href="/api/v1/openapi.json">openapi.json</a></p>',
    ]
    for route, summary, asked, answer in routes(document):
        link = f'<a href="#{escape(answer)}">{escape(answer)}</a>'
        parts.append(f"<h2><code>{escape(route)}</code></h2><p>{escape(summary)} Answer: {link}</p>{_html(asked)}")
    for name, meaning, table in answers(document):
        parts.append(f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{escape(meaning)}</p>{_html(table)}')
    head = f'<meta charset="utf-8"><title>{escape(document["info"]["title"])}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en">{head}\n' + "\n".join(parts) + "\n</html>\n"


def _html(table: Table) -> str:
    rows = (f"<tr><td><code>{escape(a)}</code></td><td>{escape(b)}</td><td>{escape(c)}</td></tr>" for a, b, c in table)
    return f"<table>{''.join(rows)}</table>"


def _parameter(parameter: dict[str, Any]) -> tuple[str, str, str]:
    kind = _kind(parameter["schema"]) + (", a header" if parameter["in"] == "header" else "")
    return parameter["name"], kind + (", required" if parameter["required"] else ""), parameter["description"]


def _kind(shape: dict[str, Any]) -> str:
    if "$ref" in shape:
        return _name(shape)
    if "allOf" in shape:
        return _kind(shape["allOf"][0])
    if "anyOf" in shape:
        return " or ".join(dict.fromkeys(_kind(kind) for kind in shape["anyOf"]))
    if "enum" in shape:
        return " or ".join(map(str, shape["enum"]))
    if shape.get("type") == "array":
        return f"list of {_kind(shape.get('items', {}))}"
    return str(shape.get("type", "any"))


def _meaning(shape: dict[str, Any]) -> str:
    kinds = [shape, *shape.get("anyOf", [])]
    return next((kind["description"] for kind in kinds if "description" in kind), "")


def _name(shape: dict[str, Any]) -> str:
    return str(shape["$ref"]).rpartition("/")[2]

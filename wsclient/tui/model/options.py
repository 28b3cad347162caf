"""The options of a connection as the fields of the connect form, and as the line that a profile is made of."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class OptionField:
    """One option; one that `repeats` holds several values, each in quotation marks then."""

    name: str
    title: str
    hint: str
    repeats: bool = False


OPTION_FIELDS: Final = (
    OptionField("header", "Headers", "NAME: VALUE, or 'A: 1' 'B: 2'", repeats=True),
    OptionField("cookie", "Cookies", "NAME=VALUE, or 'A=1' 'B=2'", repeats=True),
    OptionField("subprotocol", "Subprotocols", "NAME, or 'A' 'B'", repeats=True),
    OptionField("user-file", "Or both in a file", "a file with USER:PASSWORD"),
    OptionField("proxy", "Proxy", "http://HOST:PORT, socks5h://HOST:PORT or none"),
    OptionField("ca", "Trusted CA", "a PEM file"),
    OptionField("cert", "Certificate", "a PEM file of the client's own"),
    OptionField("key", "Its key", "a PEM file, if it is another one"),
    OptionField("max-size", "Largest message", "16MiB"),
    OptionField("handshake-timeout", "Time to connect", "10s"),
)
_BY_OPTION: Final = {f"--{field.name}": field for field in OPTION_FIELDS}


def split_options(line: str) -> tuple[dict[str, str], str]:
    """Return what stands in each field for a line of options, and the options that have no field.

    A line that cannot be read stays whole.
    """
    try:
        words = shlex.split(line)
    except ValueError:
        return {}, line
    values: dict[str, list[str]] = {}
    rest: list[str] = []
    while words:
        option, separator, value = words.pop(0).partition("=")
        field = _BY_OPTION.get(option)
        if field is None or not (separator or words):
            rest.append(f"{option}{separator}{value}")
        else:
            values.setdefault(field.name, []).append(value if separator else words.pop(0))
    return {name: found[-1] if len(found) == 1 else shlex.join(found) for name, found in values.items()}, shlex.join(
        rest
    )


def joined_options(fields: Mapping[str, str], rest: str) -> str:
    """Return the line of options for what stands in the fields, and for the others."""
    words: list[str] = []
    for field in OPTION_FIELDS:
        text = fields.get(field.name, "").strip()
        for value in _values(text) if field.repeats else [text]:
            words += [f"--{field.name}", value] if value else []
    return f"{shlex.join(words)} {rest.strip()}".strip()


def _values(text: str) -> list[str]:
    """Return the values in a field; without quotation marks it is one, whatever blanks it has."""
    if not text.startswith(("'", '"')):
        return [text]
    try:
        return shlex.split(text)
    except ValueError:
        return [text]

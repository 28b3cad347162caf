"""Text from strangers, made harmless: control characters out, tokens redacted."""

from __future__ import annotations

import re
from typing import Final

REDACTED: Final = "[redacted]"

# C0, DEL, C1, line and paragraph separators, and every bidi control: what can move a cursor, forge a log
# line or turn the reading direction.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
# Both kinds of token anywhere in a text: a JWT is three base64url parts, the first of them `{"...`.
_TOKENS = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*|guest_[0-9a-fA-F-]{36}_[0-9]+(?:_[a-z2-7]+)?")
_QUERY_SECRETS = re.compile(r"(?i)((?:token|resume)=)[^&\s\"']+")
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*(?=@)")  # a URL's name and password


def neutralise(text: str) -> str:
    """Replace each control character with its visible escape (`\\n`, `\\x1b`, `\\u202e`)."""
    return _UNSAFE.sub(lambda match: _escape(match[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    short = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    return short or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def redact(text: str) -> str:
    """Replace every secret that a text contains: a token as a word or as a `token=` query value, a URL's password."""
    return _TOKENS.sub(REDACTED, _QUERY_SECRETS.sub(r"\g<1>" + REDACTED, _USERINFO.sub(REDACTED, text)))


def json_line(text: str) -> str:
    """Make valid JSON one safe line: its line breaks become spaces, other control characters `\\u` escapes.

    Both keep the value: raw C0 controls stand only between tokens, all others only inside strings (RFC 8259).
    """
    return _UNSAFE.sub(lambda match: " " if match[0] in "\t\n\r" else f"\\u{ord(match[0]):04x}", text)

"""Text from strangers, made harmless: control characters out, tokens redacted."""

from __future__ import annotations

import os
import re
from typing import Final

from wscore.errors import ConfigError, WsctlError

REDACTED: Final = "[redacted]"

# C0, DEL, C1, line and paragraph separators, and every bidi control: what can move a cursor, forge a log
# line or turn the reading direction.
_CONTROLS: Final = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
_UNSAFE = re.compile(f"[{_CONTROLS}]")
# What nobody sees and two texts can differ by: soft hyphen, zero widths, fillers, invisible operators, tags. Inside of
# an emoji a joiner and a variation selector are seen.
_INVISIBLE: Final = (
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u2060-\u206f\u2800\u3164\uffa0\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_PICTURE: Final = "\xa9\xae\u203c-\u3299\ufe0f\U0001f000-\U0001faff"
_UNSEEN = re.compile(f"[{_CONTROLS}{_INVISIBLE}]|(?<![{_PICTURE}])\u200d|(?<![#*0-9{_PICTURE}])[\ufe00-\ufe0f]")
# Both kinds of token anywhere in a text: a JWT is three base64url parts, the first of them `{"...`.
_TOKENS = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*|guest_[0-9a-fA-F-]{36}_[0-9]+(?:_[a-z2-7]+)?")
_QUERY_SECRETS = re.compile(r"(?i)((?:token|resume)=)[^&\s\"']+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*(?=@)")  # a URL's name and password


def neutralise(text: str) -> str:
    """Replace each control and each invisible character with a visible escape (`\\n`, `\\x1b`, `\\u200b`)."""
    return text if text.isascii() and text.isprintable() else _UNSEEN.sub(lambda match: _escape(match[0]), text)


def masked(text: str) -> str:
    """Replace each such character with one that is seen, so that every other stays in its place."""
    return text if text.isascii() and text.isprintable() else _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _escape(character: str) -> str:
    code = ord(character)
    short = {9: "\\t", 10: "\\n", 13: "\\r"}.get(code)
    if short is not None:
        return short
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def redact(text: str) -> str:
    """Replace every secret that a text contains: a token as a word or as a `token=` query value, a URL's password."""
    # A word that each pattern needs is looked for first: most of what is logged has none of them.
    if "://" in text:
        text = _USERINFO.sub(REDACTED, text)
    if "=" in text:
        text = _QUERY_SECRETS.sub(r"\g<1>" + REDACTED, text)
    if "eyJ" in text or "guest_" in text:
        text = _TOKENS.sub(REDACTED, text)
    return text


def checked_text(text: str, source: str) -> str:
    """Return `text` if it is Unicode, else raise ConfigError, which names `source` and shows nothing of it.

    An argument or variable of the system that is not UTF-8 comes with surrogates, which nothing can send.
    """
    if _SURROGATE.search(text):
        raise ConfigError(source, "is not text in UTF-8")
    return text


def describe(error: BaseException) -> str:
    """Return what may be shown of an exception whatever was in its hands: ours speak, others give their type.

    The text of a foreign one may quote a secret that no pattern knows, and the repr of a UnicodeError all of it.
    """
    if isinstance(error, WsctlError):
        return redact(str(error))
    kind = type(error).__name__
    if isinstance(error, UnicodeEncodeError | UnicodeDecodeError):
        return f"{kind}: {error.reason}"  # the codec's own words; the text is in `object` only
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{kind}: {error.name}"
    if isinstance(error, OSError) and error.errno is not None:
        return system_words(error)
    return kind


def system_words(error: OSError) -> str:
    """Return the words for its number: the system's, those of getaddrinfo (below 0), or of TLS, which has others."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str):
        return f"TLS: {reason.replace('_', ' ').lower()}"
    if not error.errno:
        return str(error)
    return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)


def json_line(text: str) -> str:
    """Make valid JSON one safe line: its line breaks become spaces, other control characters `\\u` escapes.

    Both keep the value: raw C0 controls stand only between tokens, all others only inside strings (RFC 8259).
    """
    return _UNSAFE.sub(lambda match: " " if match[0] in "\t\n\r" else f"\\u{ord(match[0]):04x}", text)

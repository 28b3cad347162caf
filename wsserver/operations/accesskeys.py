"""Keys of the operations port: what each is good for, whom it names, and how several stand in one file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from wscore.errors import ConfigError

MIN_KEY_LENGTH: Final = 16
MAX_NAMED_KEYS: Final = 1000
MEND: Final = "openssl rand -hex 32 > ops.key, then --ops-key-file ops.key"
SINGLE: Final = ("ops", "ops-read")  # the names of those that an option or a variable sets by itself
_HASHED: Final = "sha256:"
_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_LINE: Final = "write NAME read KEY or NAME write KEY"


class Right(StrEnum):
    """What a key is good for: to look at everything, or to act as well."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key, of which only a digest is kept; its `name` is what the audit calls its holder."""

    name: str
    right: Right
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, right: Right, key: str, source: str) -> AccessKey:
        """Take a key from a `source`, such as an option; raises ConfigError, which shows nothing of it."""
        if len(key) < MIN_KEY_LENGTH:
            raise ConfigError(source, f"a key has {MIN_KEY_LENGTH} characters or more", MEND)
        return cls(name, right, digest_of(key.encode()))


def digest_of(key: bytes) -> bytes:
    """Return what is kept of a key; keys are long and random, so nobody finds the key of a digest."""
    return hashlib.sha256(key).digest()


def named_keys(text: str, source: str) -> Iterator[AccessKey]:
    """Yield the keys of a file, one on each line: its name, `read` or `write`, and the key or `sha256:` of it.

    Empty lines, and those that begin with `#`, do not count. A name may have several keys, so that one can take the
    place of another. Raises ConfigError with the line, which shows nothing of it: it may be the key that is misplaced.
    """
    count = 0
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        count += 1
        place = f"{source}, line {number}"
        if len(words) != 3 or words[1] not in tuple(Right):
            raise ConfigError(place, "is not a key with its name", _LINE)
        name, right, key = words
        if not _NAME.fullmatch(name):
            raise ConfigError(place, "the name is none", "use 1 to 64 of A-Z a-z 0-9 _ . @ -, a letter or digit first")
        if name in SINGLE:
            raise ConfigError(place, f"{name} is the name of the key of --{name}-key-file", "choose another")
        if not key.isascii() or not key.isprintable():
            raise ConfigError(place, "the key is not plain ASCII", "openssl rand -hex 32 makes one")
        if count > MAX_NAMED_KEYS:
            raise ConfigError(place, f"these are more than {MAX_NAMED_KEYS} keys")
        if not key.lower().startswith(_HASHED):
            yield AccessKey.of(name, Right(right), key, place)
        elif _DIGEST.fullmatch(key, len(_HASHED)):
            yield AccessKey(name, Right(right), bytes.fromhex(key[len(_HASHED) :]))
        else:
            raise ConfigError(place, "is no SHA-256 in hex", "printf %s KEY | sha256sum")
    if not count:
        raise ConfigError(source, "holds no key", f"{_LINE}, one on each line")

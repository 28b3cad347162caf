"""Where secrets come from: a file or the environment, never the command line (design section 10)."""

from __future__ import annotations

import codecs
import os
import sys
from pathlib import Path
from typing import Final

from wscore.errors import ConfigError
from wscore.secrets import checked_token
from wscore.text import checked_text, neutralise
from wscore.units import format_size

SECRET_VARIABLE = "WSCTL_JWT_SECRET"
SECRET_ENCODING_VARIABLE = "WSCTL_JWT_SECRET_ENCODING"
WEBHOOK_VARIABLE = "WSCTL_WEBHOOK_SECRET"
# Keys of the voice stages' servers, and those of the operations port.
KEY_VARIABLES = {
    name: f"WSCTL_{name.upper().replace('-', '_')}_KEY" for name in ("asr", "llm", "tts", "ops", "ops-read")
}

_told: Final[dict[str, str]] = {}  # passwords by user, as they were typed at a prompt


def read_token(token: str) -> str:
    """Return the token of `--token` or WSCTL_TOKEN; raises ConfigError for one that no connection can carry."""
    return checked_token(token, "--token")


def read_token_file(file: Path) -> str:
    """Return the token in a file, without the spaces and line breaks around it; raises ConfigError."""
    option = "--token-file"
    token = read_file(file, option).removeprefix(codecs.BOM_UTF8).strip()
    return checked_token(token.decode("latin-1"), f"{option} {file}")


def read_user(pair: str | None, file: Path | None) -> str:
    """Return `USER:PASSWORD` of `--user` or `--user-file`; asks for a password that is missing, where somebody is.

    Raises ConfigError for what no request can carry.
    """
    option = "--user" if file is None else f"--user-file {file}"
    if file is not None:
        pair = read_file(file, "--user-file").removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape").strip()
    text = checked_text(pair or "", option)
    user, separator, _ = text.partition(":")
    if not text.isprintable() or not user:
        raise ConfigError(option, "is not USER:PASSWORD")
    if separator:
        return text
    if file is not None or not sys.stdin or not sys.stdin.isatty():
        raise ConfigError(option, "has no password", "write USER:PASSWORD into WSCTL_USER or a --user-file")
    if user not in _told:
        from getpass import getpass

        _told[user] = getpass(f"password of {neutralise(user)}: ")
    return checked_text(f"{user}:{_told[user]}", option)


def password_told(user: str) -> str:
    """Return the password that somebody was asked for already; raises ConfigError."""
    if user not in _told:
        mend = "fill it in beside the user; an empty one is given as --user USER:"
        raise ConfigError("password", f"there is none for {neutralise(user)}", mend)
    return _told[user]


def read_key(name: str, key_file: Path | None) -> str | None:
    """Return the key of that name in `KEY_VARIABLES` from its file, else from its variable, else None.

    Raises ConfigError for a file that cannot be read, and for what is no single word in ASCII.
    """
    if key_file is None:
        source, key = KEY_VARIABLES[name], os.environ.get(KEY_VARIABLES[name], "")
        if not key:
            return None
    else:
        source = f"--{name}-key-file"
        key = read_file(key_file, source).decode("ascii", "replace")
    words = key.split()
    if len(words) != 1 or not key.isascii():
        raise ConfigError(source, "does not hold one key in plain ASCII")
    return words[0]


def read_webhook_secrets(file: Path | None) -> tuple[str, list[str]]:
    """Return where the secrets of webhooks are, and what is there, a word each; raises ConfigError."""
    if file is None:
        return WEBHOOK_VARIABLE, os.environ.get(WEBHOOK_VARIABLE, "").split()
    option = "--webhook-secret-file"
    words = read_file(file, option).removeprefix(codecs.BOM_UTF8).decode("ascii", "replace").split()
    if not words:
        raise ConfigError(option, f"{file}: is empty")
    return option, words


def read_file(path: Path, option: str, max_bytes: int = 1 << 20) -> bytes:
    """Return a file's content; raises ConfigError naming the option that pointed to it, also for a larger file."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(option, f"{path}: {error.strerror}") from None
    if len(content) > max_bytes:
        raise ConfigError(option, f"{path}: is larger than {format_size(max_bytes)}")
    return content

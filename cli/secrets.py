"""Where secrets come from: a file or the environment, never the command line (design section 10)."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.variables import variable_of
from wscore.errors import ConfigError
from wscore.secrets import SecretEncoding, checked_secret, checked_token, decode_secret
from wscore.units import format_size

SECRET_VARIABLE = "WSCTL_JWT_SECRET"
SECRET_ENCODING_VARIABLE = "WSCTL_JWT_SECRET_ENCODING"
KEY_VARIABLES = {stage: f"WSCTL_{stage.upper()}_KEY" for stage in ("asr", "llm", "tts")}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretOptions:
    """The secret that signs JWTs and guest tokens: in a file, or in WSCTL_JWT_SECRET."""

    jwt_secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the secret (or WSCTL_JWT_SECRET); signs guests too.")
    ] = None
    jwt_secret_encoding: Annotated[SecretEncoding, typer.Option(help="How the secret is written.")] = (
        SecretEncoding.TEXT
    )

    def secret(self) -> bytes | None:
        """Return the secret, None if none is set; raises ConfigError for one that is not fit to sign with."""
        refuse_empty(self, SecretOptions)
        if self.jwt_secret_file is not None:
            source = f"--jwt-secret-file {self.jwt_secret_file}"
            written = read_file(self.jwt_secret_file, "--jwt-secret-file")
        else:
            source = SECRET_VARIABLE
            value = os.environ.get(SECRET_VARIABLE)
            if value is None:
                return None
            written = os.fsencode(value)
        return checked_secret(decode_secret(written, self.jwt_secret_encoding, source))


def refuse_empty(options: object, group: Any) -> None:
    """Raise ConfigError for a variable that is set but empty where it would name an option of the dataclass `group`.

    Elsewhere that means the default; here the default is to be a guest, or to check less.
    """
    for field in fields(group):
        variable = variable_of(field.name)
        if getattr(options, field.name) is None and os.environ.get(variable) == "":
            raise ConfigError(variable, "is set but empty", "unset it, or give it a value")


def read_token(token: str) -> str:
    """Return the token of `--token` or WSCTL_TOKEN; raises ConfigError for one that no connection can carry."""
    return checked_token(token, "--token")


def read_token_file(file: Path) -> str:
    """Return the token in a file, without the spaces and line breaks around it; raises ConfigError."""
    option = "--token-file"
    token = read_file(file, option).removeprefix(codecs.BOM_UTF8).strip()
    return checked_token(token.decode("latin-1"), f"{option} {file}")


def read_key(stage: str, key_file: Path | None) -> str | None:
    """Return the key of a voice stage's server from its file, else from its variable, else None.

    Raises ConfigError for a file that cannot be read, and for what is no single word in ASCII.
    """
    if key_file is None:
        source, key = KEY_VARIABLES[stage], os.environ.get(KEY_VARIABLES[stage], "")
        if not key:
            return None
    else:
        source = f"--{stage}-key-file"
        key = read_file(key_file, source).decode("ascii", "replace")
    words = key.split()
    if len(words) != 1 or not key.isascii():
        raise ConfigError(source, "does not hold one key in plain ASCII")
    return words[0]


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

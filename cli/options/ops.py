"""The options of the operations port."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from cli.options.operator import OpsKeyFile
from cli.options.tokens import refuse_empty, refuse_empty_variable
from cli.secrets import KEY_VARIABLES, read_file, read_key
from cli.spreading import OptionGroup
from wscore.errors import ConfigError
from wscore.installation import require_packages
from wsserver.operations.accesskeys import SINGLE, AccessKey, Right, named_keys
from wsserver.operations.keyring import KeyRing
from wsserver.operations.settings import DEFAULT_OPS_HOST, PortSettings

PACKAGES: Final = ("httptools", "starlette", "uvicorn")


class OpsOptions(OptionGroup, frozen=True, kw_only=True):
    """The port that operators use, and programs that watch the server or publish."""

    TITLE: ClassVar = "Operations port"

    ops_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="N", help="Health, metrics and the HTTP API here; 0 takes a free one."),
    ] = None
    ops_host: Annotated[
        str, typer.Option(metavar="HOST", help="Address of that port; others than this machine need a key.")
    ] = DEFAULT_OPS_HOST
    ops_key_file: OpsKeyFile = None
    ops_read_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"File with a key that changes nothing (or {KEY_VARIABLES['ops-read']})."),
    ] = None
    ops_keys_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with keys of several holders, a line each: NAME, read or write, KEY."),
    ] = None

    def settings(self) -> PortSettings | None:
        """Return the port, None unless there is to be one; raises ConfigError."""
        files = {
            "--ops-key-file": self.ops_key_file,
            "--ops-read-key-file": self.ops_read_key_file,
            "--ops-keys-file": self.ops_keys_file,
        }
        given = {option: file for option, file in files.items() if file is not None}
        if self.ops_port is None:
            for option in (*given, *(("--ops-host",) if self.ops_host != DEFAULT_OPS_HOST else ())):
                raise ConfigError(option, "there is no operations port to use it at", "add --ops-port")
            return None
        require_packages("--ops-port", PACKAGES, "ops")
        refuse_empty(self, OpsOptions)
        for name in SINGLE:
            refuse_empty_variable(KEY_VARIABLES[name])
        has_keys = given or any(os.environ.get(KEY_VARIABLES[name]) for name in SINGLE)
        keys = KeyRing(self._keys, tuple(given.values())) if has_keys else None
        return PortSettings(self.ops_port, self.ops_host, keys)

    def _keys(self) -> Iterator[AccessKey]:
        for name, file, right in (
            ("ops", self.ops_key_file, Right.WRITE),
            ("ops-read", self.ops_read_key_file, Right.READ),
        ):
            key = read_key(name, file)
            if key is not None:
                yield AccessKey.of(name, right, key, KEY_VARIABLES[name] if file is None else f"--{name}-key-file")
        if self.ops_keys_file is not None:
            option = "--ops-keys-file"
            written = read_file(self.ops_keys_file, option).removeprefix(codecs.BOM_UTF8)
            yield from named_keys(written.decode("utf-8", "replace"), f"{option} {self.ops_keys_file}")

"""The options of the operations port."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from cli.options.operator import OpsKeyFile
from cli.secrets import KEY_VARIABLES, read_key
from wscore.errors import ConfigError
from wscore.installation import require_packages
from wsserver.operations.settings import DEFAULT_OPS_HOST, AccessKey, PortSettings, Right

PACKAGES: Final = ("httptools", "prometheus_client", "starlette", "uvicorn")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsOptions:
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

    def settings(self) -> PortSettings | None:
        """Return the port, None unless there is to be one; raises ConfigError."""
        if self.ops_port is None:
            for option, value in (
                ("--ops-key-file", self.ops_key_file),
                ("--ops-read-key-file", self.ops_read_key_file),
            ):
                if value is not None:
                    raise ConfigError(option, "there is no operations port to use it at", "add --ops-port")
            return None
        require_packages("--ops-port", PACKAGES, "ops")
        return PortSettings(self.ops_port, self.ops_host, tuple(self._keys()))

    def _keys(self) -> Iterator[AccessKey]:
        for name, file, right in (
            ("ops", self.ops_key_file, Right.ACT),
            ("ops-read", self.ops_read_key_file, Right.READ),
        ):
            key = read_key(name, file)
            if key is not None:
                yield AccessKey(name, key, right, KEY_VARIABLES[name] if file is None else f"--{name}-key-file")

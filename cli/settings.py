"""Options: how durations and sizes are written, and where a value comes from when no flag gives it.

The order is flag, `WSCTL_*` environment variable, `wsctl.toml`, default (design section 10). One rule serves
every command: `--max-message-size` of `wsctl serve` is WSCTL_MAX_MESSAGE_SIZE and `max-message-size` in `[serve]`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperOption

from wscore.errors import ConfigError
from wscore.units import parse_duration_ms, parse_size_bytes

CONFIG_FILE: Final = "wsctl.toml"
ENV_PREFIX: Final = "WSCTL_"


def _reader(parse: Callable[[str], int]) -> Callable[[str | int], int]:
    def read(value: str | int) -> int:
        if isinstance(value, int):  # a default that is not text
            return value
        try:
            return parse(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return read


def duration_option(help: str, **options: Any) -> Any:
    """Return an option that reads `500ms`, `25s`, `1h` as ms."""
    return typer.Option(parser=_reader(parse_duration_ms), metavar="DURATION", help=help, **options)


def size_option(help: str, **options: Any) -> Any:
    """Return an option that reads `64KiB`, `1MiB` as bytes."""
    return typer.Option(parser=_reader(parse_size_bytes), metavar="SIZE", help=help, **options)


def read_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Take a command's defaults from its table in the file; raises ConfigError with the place."""
    file = path or Path(CONFIG_FILE)
    if path is None and not file.is_file():
        return path
    table_name = ".".join(ctx.command_path.split()[1:])
    table = _load(file)
    for part in table_name.split("."):
        table = table.get(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: {part}", "is not a table", f"write it as [{table_name}]")
    options = {_key(one): one.name for one in ctx.command.params if isinstance(one, TyperOption)}
    for key in table:
        if key not in options:
            import difflib

            close = difflib.get_close_matches(key, options, n=1)
            mend = (
                f"did you mean {close[0]!r}?" if close else f"`wsctl {table_name.replace('.', ' ')} --help` lists them"
            )
            raise ConfigError(f"{file}: [{table_name}] {key}", "there is no such option", mend)
    ctx.default_map = {**(ctx.default_map or {}), **{options[key]: value for key, value in table.items()}}
    return path


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        is_eager=True,
        callback=read_config,
        help="Settings file.",
        show_default=f"{CONFIG_FILE} if it exists",
    ),
]


def bind_environment(command: Any) -> None:
    """Give every option of a command, and of its sub-commands, its environment variable."""
    for parameter in command.params:
        if isinstance(parameter, TyperOption) and parameter.envvar is None and parameter.name not in ("help", "config"):
            parameter.envvar = ENV_PREFIX + _key(parameter).upper().replace("-", "_")
            parameter.show_envvar = False  # one rule names them all; see the end of `wsctl --help`
    for child in getattr(command, "commands", {}).values():
        bind_environment(child)


def _key(option: TyperOption) -> str:
    return max(option.opts, key=len).lstrip("-")


def _load(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError("--config", f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), f"is not valid TOML: {error}") from None

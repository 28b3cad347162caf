"""Options: how durations and sizes are written, and where a value comes from when no flag gives it.

The order is flag, `WSCTL_*` environment variable, `wsctl.toml`, default (design section 10). One rule serves
every command: `--max-message-size` of `wsctl serve` is WSCTL_MAX_MESSAGE_SIZE and `max-message-size` in `[serve]`, and
its argument APP is WSCTL_APP and `app`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperOption

from cli.origins import key_of, remember, table_of
from cli.variables import check_variables, variable_of
from wscore.errors import ConfigError
from wscore.units import parse_duration_ms, parse_size_bytes

_MODE: Final = re.compile(r"0?[0-7]{3}")
CONFIG_FILE: Final = "wsctl.toml"
SHARED_TABLES: Final = ("profiles", "keys", "app")  # these belong to no command: cli/profiles.py, appsettings.py

# The metavars of options that a bare number leaves open: what is wrong with it, and an example of what is right.
_UNITS: Final = {
    "DURATION": ("has no unit", '"25s"'),
    "SIZE": ("has no unit", '"64KiB"'),
    "MODE": ("is a number, which could be meant decimal", '"0660"'),
}


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


def mode_option(help: str, **options: Any) -> Any:
    """Return an option that reads the permissions of a file, `0660`."""
    return typer.Option(parser=_reader(_parse_mode), metavar="MODE", help=help, **options)


def _parse_mode(text: str) -> int:
    if not _MODE.fullmatch(text):
        raise ValueError(f"{text!r}: a mode is three octal digits for owner, group and others, such as 0660")
    return int(text, 8)


def read_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Take a command's defaults from its table in the file; raises ConfigError with the place."""
    file = path or Path(CONFIG_FILE)
    remember(ctx, file)
    check_variables(os.environ)
    if path is None and not file.is_file():
        return path
    table_name = table_of(ctx)
    table = _find_table(file, ctx)
    known = {key_of(param): param for param in ctx.command.params if has_setting(param)}
    for key, value in table.items():
        place = f"{file}: [{table_name}] {key}"
        if key not in known:
            listing = f"`wsctl {table_name.replace('.', ' ')} --help` lists them"
            raise ConfigError(place, "there is no such option", _did_you_mean(key, known) or listing)
        if misshapen := _misshapen(known[key], value):
            raise ConfigError(place, *misshapen)
    given = {str(known[key].name): _several(known[key], table[key]) for key in table}
    ctx.default_map = {**(ctx.default_map or {}), **given}
    return path


def _several(parameter: Any, value: object) -> object:
    """Return what an option takes from the file: one text stands for a list of it, where it may be repeated."""
    return [value] if parameter.multiple and isinstance(value, str) else value


def has_setting(parameter: Any) -> bool:
    """Whether the environment and the file can give it: every option, and every argument that may be absent."""
    return parameter.name not in ("help", "config") and (isinstance(parameter, TyperOption) or not parameter.required)


def _find_table(file: Path, ctx: typer.Context) -> dict[str, Any]:
    """Return the command's table; a misspelled one on the way to it is an error, not an empty one."""
    groups: list[Any] = []
    above: Any = ctx.parent
    while above is not None:
        groups.insert(0, above)
        above = above.parent
    table = load_toml(file)
    names = ctx.command_path.split()[1:]
    for depth, (group, name) in enumerate(zip(groups, names, strict=True)):
        known = group.command.list_commands(group)
        for key in table:
            if key not in known and (depth or key not in SHARED_TABLES):
                place = f"{file}: {'.'.join([*names[:depth], key])}"
                tables = "tables are " + ", ".join(f"[{'.'.join([*names[:depth], name])}]" for name in known)
                raise ConfigError(place, "there is no such command", _did_you_mean(key, known) or tables)
        table = table.get(name, {})
        if not isinstance(table, dict):
            path = ".".join(names[: depth + 1])
            raise ConfigError(f"{file}: {path}", "is not a table", f"write it as [{'.'.join(names)}]")
    return table


def _misshapen(parameter: Any, value: object) -> tuple[str, str] | None:
    """Return what is wrong with the kind of a TOML value and how to mend it: conversions are too forgiving.

    They would take `heartbeat-interval = 25` as 25 ms, `port = true` as port 1, and `port = 1.5` as well.
    """
    if parameter.multiple:
        texts = value if isinstance(value, list) else [value]
        good = all(isinstance(item, str) for item in texts)
        return None if good else ("is no text and no list of texts", 'write it as ["..."]')
    if isinstance(value, list | dict):
        return "is not a single value", "this option cannot be repeated"
    is_switch = getattr(parameter, "is_bool_flag", False)
    if is_switch != isinstance(value, bool):
        return (
            ("is not a switch", "write it as true or false")
            if is_switch
            else ("is neither text nor a number", "true and false are for switches")
        )
    if is_switch or isinstance(value, str):
        return None
    if parameter.metavar in _UNITS:
        problem, example = _UNITS[parameter.metavar]
        return problem, f"write it as text, such as {example}"
    kind = parameter.type.name  # such as `integer` and `int range`
    is_number = isinstance(value, int | float) and math.isfinite(value)
    if kind.startswith(("int", "float")):
        whole = kind.startswith("int") and not isinstance(value, int)
        return ("is not a whole number" if whole else "is not a number", "") if whole or not is_number else None
    return None if is_number and kind == "text" else ("is not text", "put it between quotation marks")


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        is_eager=True,
        callback=read_config,
        metavar="FILE",
        help="Settings file.",
        show_default=f"{CONFIG_FILE} if it exists",
    ),
]


def bind_environment(command: Any) -> None:
    """Give every setting of a command, and of its sub-commands, its environment variable."""
    for parameter in command.params:
        if parameter.envvar is None and (has_setting(parameter) or parameter.name == "config"):
            parameter.envvar = variable_of(key_of(parameter))
            parameter.show_envvar = False  # one rule names them all; see the end of `wsctl --help`
    for child in getattr(command, "commands", {}).values():
        bind_environment(child)


def load_toml(file: Path) -> dict[str, Any]:
    """Return the content of a settings file; raises ConfigError."""
    import tomllib

    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError("--config", f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), f"is not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(str(file), "is nested too deeply") from None

"""Where the values of a command came from: what an error about one names, and which of two rivals wins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from wscore.errors import ConfigError

_KEY: Final = "cli.origins"
_KIND: Final = re.compile(r"is not a valid (int|float)(eger)?( range)?\b")
# What a flag may take the place of although the environment or the file names it: (weaker, stronger).
_ALTERNATIVES: Final = (
    *(("url", "profile"), ("url", "serve"), ("serve", "url"), ("app", "voice"), ("voice", "app")),
    *(("token", "no_token"), ("token_file", "no_token"), ("sub", "no_token")),
)
# The sources of values that somebody gave, strongest first.
_GIVEN: Final = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")


def remember(ctx: Any, file: Path) -> None:
    """Note which command runs with which settings file, for an error that comes later."""
    ctx.find_root().meta[_KEY] = (ctx, file)


def name_place(error: Exception, ctx: Any) -> Exception:
    """Return the error with the place of the value that it is about, if that is in the environment or in the file.

    `ctx` is any context of the command line.
    """
    command, file = ctx.find_root().meta.get(_KEY, (None, None))
    if command is None:
        return error
    if isinstance(error, ConfigError):
        for param in command.command.params:
            place = _place(command, file, param)
            if place is not None and _is_about(error, param, command.params.get(param.name)):
                error.setting = place if error.setting in names_of(param) else f"{place}: {error.setting}"
                break
        return error
    parameter, message = getattr(error, "param", None), getattr(error, "message", None)
    if parameter is not None and message and (place := _place(command, file, parameter)) is not None:
        return ConfigError(place, in_plain_words(message.rstrip(".")))
    return error


def in_plain_words(message: str) -> str:
    """Return what the argument parser says, without its own names of kinds."""
    return _KIND.sub(lambda found: "is not a number" if found[1] == "float" else "is not a whole number", message)


def prefer(ctx: Any) -> None:
    """Of two values that exclude each other drop the one from the weaker source: a flag wins over the file."""
    for weaker, stronger in _ALTERNATIVES:
        both = ctx.params.get(weaker) and ctx.params.get(stronger)
        if both and _rank(ctx, stronger) < _rank(ctx, weaker) < len(_GIVEN):
            ctx.params[weaker] = next(param.default for param in ctx.command.params if param.name == weaker)


def names_of(parameter: Any) -> tuple[str, ...]:
    """Return how an error names a parameter: by its spellings, or as an argument by its placeholder."""
    return (*parameter.opts, *parameter.secondary_opts, parameter.metavar or parameter.name)


def key_of(parameter: Any) -> str:
    """Return a parameter's key in the file; its environment variable is made of the same words."""
    return str(max(parameter.opts, key=len)).lstrip("-")


def table_of(ctx: Any) -> str:
    """Return the name of a command's table."""
    return ".".join(ctx.command_path.split()[1:])


def _is_about(error: ConfigError, parameter: Any, value: object) -> bool:
    """Whether the error names the parameter, as in `--responder http`, or its value, as with a file."""
    names = names_of(parameter)
    return error.setting.partition(" ")[0] in names or (value is not None and str(value) == error.setting)


def _place(ctx: Any, file: Path, parameter: Any) -> str | None:
    source = _GIVEN[rank] if (rank := _rank(ctx, parameter.name)) < len(_GIVEN) else None
    if source == "ENVIRONMENT":
        return str(parameter.envvar)
    return f"{file}: [{table_of(ctx)}] {key_of(parameter)}" if source == "DEFAULT_MAP" else None


def _rank(ctx: Any, name: str) -> int:
    source = ctx.get_parameter_source(name)
    return _GIVEN.index(source.name) if source is not None and source.name in _GIVEN else len(_GIVEN)

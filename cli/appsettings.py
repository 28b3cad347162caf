"""The settings of an app's own, from `[app]` in wsctl.toml and from `WSCTL_APP_*`; no value of theirs is ever shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_type_hints

import msgspec

from cli.output import note
from cli.profiles import config_path
from cli.settings import load_toml
from cli.variables import APP_PREFIX
from wscore.errors import ConfigError
from wsserver.sdk.appsettings import Secret, setting_fields

_FILE: Final = "_file"  # behind a secret's name: the file that holds it
_LIKELY_SECRETS: Final = ("key", "password", "secret", "token")


def read_app_settings(kinds: list[type], config: Path | None, environ: Mapping[str, str]) -> list[object]:
    """Return an object of each class of settings; raises ConfigError with the place, and never with the value."""
    path = config_path(config)
    table = load_toml(path).get("app", {}) if config is not None or path.is_file() else {}
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: app", "is not a table", "write it as [app]")
    hints = {kind: get_type_hints(kind) for kind in kinds}
    known = {name for kind in kinds for name in _names(kind, hints[kind])}
    for key in table:
        if key.replace("-", "_") not in known or "_" in key:
            raise ConfigError(f"{path}: [app] {key}", "the app has no such setting", _similar(key, known))
    _check_variables(environ, known)
    return [_read(kind, hints[kind], path, table, environ) for kind in kinds]


def shown_settings(settings: list[object]) -> str:
    """Return what the start-up says of them: names and values, but of no secret."""
    return ", ".join(f"{_key(name)} {text}" for value in settings for name, text in _shown(value))


def _shown(settings: object) -> Iterator[tuple[str, str]]:
    for field in setting_fields(type(settings)):
        value = getattr(settings, field.name)
        is_secret = isinstance(value, Secret) or any(word in field.name.lower() for word in _LIKELY_SECRETS)
        yield field.name, "***" if is_secret and value is not None else str(value)


def _names(kind: type, hints: Mapping[str, Any]) -> Iterator[str]:
    for field in setting_fields(kind):
        yield field.name
        if _is_secret(hints[field.name]):
            yield field.name + _FILE


def _read(
    kind: type, hints: Mapping[str, Any], path: Path, table: Mapping[str, Any], environ: Mapping[str, str]
) -> object:
    values: dict[str, Any] = {}
    for field in setting_fields(kind):
        name, hint = field.name, hints[field.name]
        variable, key = APP_PREFIX + name.upper(), _key(name)
        place = f"{path}: [app] {key}"
        if environ.get(variable):
            values[name] = _convert(environ[variable], hint, variable, strict=False)
        elif _is_secret(hint) and environ.get(variable + _FILE.upper()):
            values[name] = _secret_in(environ[variable + _FILE.upper()], variable + _FILE.upper())
        elif key in table:
            values[name] = _convert(table[key], hint, place, strict=True)
        elif _is_secret(hint) and f"{key}-file" in table:
            values[name] = _secret_in(str(table[f"{key}-file"]), f"{place}-file")
        elif field.required:
            raise ConfigError(place, "is needed by the app", f"set it there, or as {variable}")
    try:
        made: object = kind(**values)
    except ValueError as error:  # of a check of its own
        raise ConfigError(f"{path}: [app]", str(error)) from None
    return made


def _convert(value: Any, hint: Any, place: str, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, hint, strict=strict, dec_hook=_decode)
    except (msgspec.ValidationError, TypeError, ValueError):
        if isinstance(value, str) and not strict and value[:1] in "[{":
            return _convert(_json(value, place), hint, place, strict=True)
        # msgspec would quote the value of some kinds.
        name = getattr(hint, "__name__", str(hint)) if isinstance(hint, type) else str(hint).replace("typing.", "")
        raise ConfigError(place, f"does not fit {name}") from None


def _json(text: str, place: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise ConfigError(place, "is no JSON", 'write a list as ["a", "b"]') from None


def _decode(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(kind)


def _secret_in(file: str, place: str) -> Secret:
    try:
        return Secret(Path(file).read_text("utf-8").strip())
    except OSError as error:
        raise ConfigError(place, f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(place, f"{file}: is not text in UTF-8") from None


def _is_secret(hint: Any) -> bool:
    return hint is Secret or Secret in getattr(hint, "__args__", ())


def _check_variables(environ: Mapping[str, str], known: set[str]) -> None:
    unknown = [
        name for name in sorted(environ) if name.startswith(APP_PREFIX) and name[len(APP_PREFIX) :].lower() not in known
    ]
    for name in unknown:
        if mend := _similar(name[len(APP_PREFIX) :].lower(), known):
            raise ConfigError(name, "the app has no such setting", mend)
    if unknown:
        note(f"{', '.join(unknown)}: no setting of the app, so it does nothing here")


def _similar(name: str, known: set[str]) -> str:
    close = get_close_matches(name.replace("-", "_"), known, 1)
    return f"did you mean {_key(close[0])}?" if close else ""


def _key(name: str) -> str:
    return name.replace("_", "-")

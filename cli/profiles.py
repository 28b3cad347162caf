"""The tables of `wsctl.toml` that belong to no command: saved targets and the terminal client's keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cli.options.protocol import SAVED_FIELDS, read_saved
from cli.saved import DIAL_KINDS, check_saved
from cli.settings import CONFIG_FILE, load_toml
from wscore.errors import ConfigError

_FIELDS: Final = ("url", "session", "sub", "token-file")
_NO_TOKEN: Final = "no-token"


@dataclass(frozen=True, slots=True)
class SavedProfile:
    """Where to connect and as whom: a guest unless `sub`, `token_file` or `no_token` is set. No token is ever saved.

    `dials` are options of the connection by their names, which count where the command line has none, `speaks` those of
    the protocol.
    """

    url: str
    session: str | None = None
    sub: str | None = None
    token_file: str | None = None
    dials: Mapping[str, Any] = field(default_factory=dict, repr=False)
    speaks: Mapping[str, Any] = field(default_factory=dict, repr=False)
    no_token: bool = False


def config_path(path: Path | None) -> Path:
    """Return the settings file: the one named by --config, else `wsctl.toml` here."""
    return path or Path(CONFIG_FILE)


def read_profiles(path: Path) -> dict[str, SavedProfile]:
    """Return the `[profiles.NAME]` tables; none without the file. Raises ConfigError with the place."""
    return {name: _profile(path, name, table) for name, table in _table(path, "profiles").items()}


def read_keys(path: Path) -> dict[str, str]:
    """Return the `[keys]` table, action by key; raises ConfigError with the place."""
    keys = _table(path, "keys")
    for name, value in keys.items():
        if not isinstance(value, str) or not value:
            raise ConfigError(
                f"{path}: [keys] {name}", "is not the name of a key", 'write it as text, such as "ctrl+w"'
            )
    return keys


def save_profile(path: Path, name: str, profile: SavedProfile) -> None:
    """Write a profile into the file, which stays as it is otherwise; raises ConfigError."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    if not name.replace("-", "").replace("_", "").isalnum():
        raise ConfigError("profile name", f"{name!r} is not a name", "use letters, digits, - and _")
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        document: Any = tomlkit.parse(text)
        table = tomlkit.table()
        profiles = document.setdefault("profiles", tomlkit.table(is_super_table=True))
        for key in _FIELDS:
            value = getattr(profile, key.replace("-", "_"))
            if value:
                table[key] = value
        if profile.no_token:
            table[_NO_TOKEN] = True
        for key, value in profile.dials.items():
            table[key] = value
        for key, value in profile.speaks.items():
            table[key] = value
        profiles[name] = table
        path.write_text(tomlkit.dumps(document), "utf-8")
    except (OSError, TOMLKitError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be written: {error}") from None


def _table(path: Path, name: str) -> dict[str, Any]:
    table = load_toml(path).get(name, {}) if path.is_file() else {}
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name}", "is not a table", f"write it as [{name}]")
    return table


def _profile(path: Path, name: str, table: Any) -> SavedProfile:
    place = f"{path}: [profiles.{name}]"
    if not isinstance(table, Mapping):
        raise ConfigError(place, "is not a table")
    for key, value in table.items():
        if key in DIAL_KINDS:
            check_saved(f"{place} {key}", key, value)
        elif key == _NO_TOKEN:
            if not isinstance(value, bool):
                raise ConfigError(f"{place} {key}", "is not true or false")
        elif key not in _FIELDS and key not in SAVED_FIELDS:
            known = ", ".join((*_FIELDS, _NO_TOKEN, *DIAL_KINDS, *SAVED_FIELDS))
            raise ConfigError(f"{place} {key}", "there is no such field", f"fields are {known}")
        elif key in _FIELDS and not isinstance(value, str):
            raise ConfigError(f"{place} {key}", "is not text")
    if not table.get("url"):
        raise ConfigError(place, "has no url")
    dials = {key: value for key, value in table.items() if key in DIAL_KINDS}
    speaks = {key: value for key, value in table.items() if key in SAVED_FIELDS}
    try:
        read_saved(speaks)
    except ConfigError as error:
        raise ConfigError(f"{place} {error.setting}", error.problem) from None
    who = table.get("sub"), table.get("token-file")
    return SavedProfile(table["url"], table.get("session"), *who, dials, speaks, bool(table.get(_NO_TOKEN)))

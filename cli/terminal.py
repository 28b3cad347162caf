"""Opens the terminal client; imported only when there is a terminal, since Textual takes a while to load."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cli import collector
from cli.options.protocol import SAVED_FIELDS
from cli.profiles import SavedProfile, config_path, read_keys, read_profiles, save_profile
from cli.saved import check_saved, read_options, written
from cli.secrets import password_told
from wsclient.filters import EVERYTHING, MessageFilter
from wsclient.happenings import Happening
from wsclient.recording import Record
from wsclient.tui.app import ConnectApp, binding_ids
from wsclient.tui.model.history import history_path
from wsclient.tui.model.target import Target, TokenKind
from wsclient.tui.terminalapp import TerminalApp
from wscore.errors import ConfigError
from wscore.foreign import ProtocolName

if TYPE_CHECKING:
    from wsclient import Client


def run_terminal(
    *,
    target: SavedProfile,
    new_client: Callable[[SavedProfile, str | None], Client],
    client: Callable[[], Client] | None,
    given: frozenset[str] = frozenset(),
    recording: tuple[str, Sequence[Record | Happening]] | None = None,
    config: Path | None = None,
    theme: str | None = None,
    record: Path | None = None,
    shows: MessageFilter = EVERYTHING,
    captures: Mapping[str, str] | None = None,
    verbose: bool = False,
) -> None:
    """Run it until somebody quits.

    `new_client` makes a client from what the form says (the token is one that was pasted); `client` is the one to begin
    with, None for the form. What is `given`, options by name, wins over the form. Raises ConfigError for a setting that
    cannot be used.
    """
    path = config_path(config)
    profiles = {name: _target(profile) for name, profile in read_profiles(path).items()}
    keys = read_keys(path)
    known = binding_ids() if keys else frozenset()
    for name in keys:
        if name not in known:
            raise ConfigError(f"{path}: [keys] {name}", "there is no such action", "docs/terminal.md lists them")
    app = ConnectApp(
        target=_target(target),
        new_client=lambda target: new_client(
            _profile(target, target.password if given.isdisjoint(("user", "user-file")) else None),
            target.value if target.kind is TokenKind.PASTED else None,
        ),
        history_path=history_path(),
        saved_path=path.with_name("wsctl-messages.jsonl"),
        client=client,
        recording=recording,
        profiles=profiles,
        given=given,
        save_profile=lambda name, target: save_profile(path, name, _profile(target)),
        keys=keys,
        record=record,
        shows=shows,
        captures=captures,
        verbose=verbose,
        on_drawn=collector.work,
    )
    run_app(app, theme)


def run_app(app: TerminalApp, theme: str | None) -> None:
    """Run an app until somebody quits; raises ConfigError for a theme that is none, and what ended the app else."""
    if theme is not None:
        if theme not in app.available_themes:
            themes = ", ".join(sorted(app.available_themes))
            raise ConfigError("--theme", f"{theme!r} is not one", f"themes are {themes}")
        app.theme = theme
    os.environ.setdefault("ESCDELAY", "25")  # a lone Esc acts at once, also in tmux and over ssh
    _believe_the_terminal()
    app.run()
    if app.fault is not None:
        raise app.fault


def _believe_the_terminal() -> None:
    """Have Textual draw at the terminal's own size: a COLUMNS or LINES that some shell has exported may be stale."""
    with suppress(OSError, ValueError):
        if all(os.get_terminal_size(sys.__stdout__.fileno())):  # type: ignore[union-attr]
            for name in ("COLUMNS", "LINES"):
                os.environ.pop(name, None)


def _target(profile: SavedProfile) -> Target:
    if profile.sub:
        kind, value = TokenKind.SUB, profile.sub
    elif profile.token_file:
        kind, value = TokenKind.FILE, profile.token_file
    elif profile.no_token:
        kind, value = TokenKind.NONE, ""
    else:
        kind, value = TokenKind.GUEST, ""
    speaks, dials = dict(profile.speaks), dict(profile.dials)
    protocol = ProtocolName(speaks.pop("protocol", ProtocolName.AUTO))
    user = dials.pop("user", "")
    return Target(profile.url, kind, value, profile.session or "", written({**dials, **speaks}), protocol, user)


def _profile(target: Target, password: str | None = None) -> SavedProfile:
    """Return what is saved of a target, or with its password what is dialled."""
    options = read_options(target.options)
    if target.user:
        check_saved("user", "user", target.user)
        options["user"] = target.user
        if password is not None:
            options["user"] += f":{password or password_told(target.user)}"
    elif password:
        raise ConfigError("password", "there is no user")
    speaks = {key: value for key, value in options.items() if key in SAVED_FIELDS}
    if target.protocol is not ProtocolName.AUTO:
        speaks.setdefault("protocol", str(target.protocol))
    return SavedProfile(
        target.url,
        target.session or None,
        target.value if target.kind is TokenKind.SUB else None,
        target.value if target.kind is TokenKind.FILE else None,
        {key: value for key, value in options.items() if key not in speaks},
        speaks,
        target.kind is TokenKind.NONE,
    )

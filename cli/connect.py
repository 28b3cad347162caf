"""`wsctl connect`: the terminal client in a terminal, its scriptable twin in a pipe."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cli import collector
from cli.connecting import run_script
from cli.options.connection import ConnectionOptions, KeepingOptions, Url
from cli.options.lines import GoalOptions, LineOptions
from cli.options.output import TerminalOptions, ViewOptions
from cli.options.protocol import ProtocolOptions
from cli.output import out
from cli.profiles import SavedProfile
from cli.settings import ConfigFile
from cli.spreading import spread
from cli.stdin import is_terminal, stdin_lines
from wscore.errors import ConfigError
from wscore.wallclock import now_ms

if TYPE_CHECKING:
    from wsclient import Client
    from wsclient.filters import MessageFilter
    from wsclient.recording import Read

# \b keeps the lines as they are.
EPILOG: Final = """\b
Examples:
  wsctl connect localhost:3000
  wsctl connect localhost:3000 --send hello --count 1 --record talk.jsonl
  wsctl connect localhost:3000 --protocol socketio \\
    --send '{"type":"say","data":"hi"}' --expect said
  wsctl connect localhost:4000/graphql --protocol graphql-ws \\
    --send 'query { hello }' --expect next
  wsctl connect localhost:4000 --protocol phoenix --channel room:1
  wsctl connect localhost:3000 --heartbeat '{"op":1}' --heartbeat-every 40s
"""


@spread
def connect(
    url: Url = None,
    *,
    connection: ConnectionOptions,
    protocol: ProtocolOptions,
    keeping: KeepingOptions,
    lines: LineOptions,
    ends: GoalOptions,
    view: ViewOptions,
    terminal: TerminalOptions,
    config: ConfigFile = None,
) -> None:
    """Talk to a server, in a terminal with a client that fills it, in a pipe by lines.

    By lines, each message that arrives is one line of JSON on standard output. To a wsctl server a line of input that
    is a JSON object with a "type" is sent as an envelope; any other object, list or text is the data of a message. To
    any other server lines go as they are, or as --protocol has it. At the end of the input it waits for replies until
    --linger of silence; with no input at all (such as </dev/null) it listens. Without a token it connects as a guest.
    """
    by_lines = terminal.plain or not _fills_terminal()
    by_lines = by_lines or any(
        choice is not None
        for choice in (
            *(lines.send, lines.send_file, lines.rate, lines.to),
            *(ends.expect, ends.until, ends.count, ends.timeout),
        )
    )
    saved = connection.target.place(url, config)
    saved = replace(saved, speaks=protocol.over(saved.speaks))
    shows = view.shows()
    if view.open is not None:
        from wsclient.recording import read_guessed

        read = ProtocolOptions().settings(saved.speaks).adapter(now_ms).read if saved.speaks else read_guessed
        if by_lines:
            _print_recording(view.open, read, shows, lines.raw)
        else:
            _look_through(view.open, read, shows, terminal.theme, config)
        return
    connector = connection.connector(ProtocolOptions().settings)
    new_client = partial(
        connector.client, reconnect=keeping.policy(), auto_pong=keeping.auto_pong, rooms=keeping.rooms(lines.to)
    )
    if by_lines:
        from wsclient.script import ScriptOptions

        goal = ends.goal()
        options = ScriptOptions(
            sends=lines.sending(probes=goal.wants_errors),
            goal=goal,
            shows=shows,
            timeout_s=None if ends.timeout is None else ends.timeout / 1000,
            linger_s=ends.linger / 1000,
            stop_at_eof=is_terminal(),
            raw=lines.raw,
            show_pings=not keeping.auto_pong,
            verbose=view.verbose,
        )
        asyncio.run(run_script(new_client(saved), options, stdin_lines(), view.record, lines.captures()))
        return
    collector.rest()  # until its first frame is drawn
    new_client(saved)  # wrong input shows now, not on a screen that fills the terminal
    from cli.terminal import run_terminal

    # The form is for who said nothing about where to go or who to be.
    named = connector.credentials.is_named or connection.target.is_given(url)
    run_terminal(
        target=saved,
        new_client=new_client,
        client=partial(new_client, saved) if named else None,
        given=connection.given(),
        config=config,
        theme=terminal.theme,
        record=view.record,
        shows=shows,
        captures=lines.captures(),
        verbose=view.verbose,
    )


def _fills_terminal() -> bool:
    return is_terminal() and sys.stdout is not None and sys.stdout.isatty()


def _print_recording(path: Path, read: Read, shows: MessageFilter, raw: bool) -> None:
    from wsclient.recording import line_of, read_recording

    for record in read_recording(path, read):
        if shows.matches(record):
            out(record.text if raw else line_of(record))


def _look_through(path: Path, read: Read, shows: MessageFilter, theme: str | None, config: Path | None) -> None:
    from wsclient.recording import read_everything

    records = list(read_everything(path, read))
    collector.rest()
    from cli.terminal import run_terminal

    def refuse(target: SavedProfile, pasted: str | None) -> Client:
        raise ConfigError("--open", "a recording has no server")

    run_terminal(
        target=SavedProfile(""),
        new_client=refuse,
        client=None,
        recording=(path.name, records),
        config=config,
        theme=theme,
        shows=shows,
    )


command = connect

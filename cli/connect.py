"""`wsctl connect`: the terminal client in a terminal, its scriptable twin in a pipe."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import collector
from cli.completion import profile_names
from cli.connecting import CredentialOptions, Credentials, dial_options, read_filter, run_script
from cli.output import out
from cli.profiles import Profile, config_path, read_profiles
from cli.settings import ConfigFile, duration_option
from cli.spreading import spread
from cli.stdin import is_terminal, stdin_lines
from wsclient.url import DEFAULT_URL
from wscore.errors import ConfigError
from wscore.reconnect import ReconnectPolicy

if TYPE_CHECKING:
    from wsclient import Client
    from wsclient.script import ScriptOptions


@spread
def connect(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="A ws:// or wss:// URL.", show_default=DEFAULT_URL)
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Saved URL, session and user from wsctl.toml.", autocompletion=profile_names),
    ] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Session to join.")] = None,
    send: Annotated[list[str] | None, typer.Option(metavar="LINE", help="Send this first (repeatable).")] = None,
    type: Annotated[str, typer.Option(metavar="TYPE", help="Type of the envelope around bare text.")] = "message",
    expect: Annotated[
        list[str] | None, typer.Option(metavar="TYPE", help="End with 0 once this type came (repeatable: all of them).")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="FILTER", help="End with 0 once a message that matches was printed.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="End with 0 after N lines.")] = None,
    filter: Annotated[
        str | None, typer.Option(metavar="FILTER", help="Print only what matches, such as 'type:chat.* /regex/'.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record every message, in and out, to this new file.")
    ] = None,
    open: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Look through a recording; no server is needed.")
    ] = None,
    templates: Annotated[
        bool | None,
        typer.Option(
            help="Fill in {{uuid}}, {{now}}, {{last.data.x}} in --send and lines of input.", show_default="in --send"
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="N", help="Lines a second.", show_default="what the server allows"),
    ] = None,
    timeout: Annotated[
        int | None, duration_option("End after this time; with 1 if --expect, --until or --count is not met.")
    ] = None,
    linger: Annotated[
        int, duration_option("Silence after the last line of input that ends it.", show_default="500ms")
    ] = 500,
    auto_pong: Annotated[bool, typer.Option(help="Answer the server's pings and do not show them.")] = True,
    raw: Annotated[bool, typer.Option("--raw", help="Send and print frames as they are.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines in and out, also in a terminal.")] = False,
    theme: Annotated[str | None, typer.Option(metavar="NAME", help="Colours of the terminal client.")] = None,
    reconnect: Annotated[
        bool | None, typer.Option(help="Come back after a lost connection.", show_default="in a terminal")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="HTTP header (repeatable).")
    ] = None,
    origin: Annotated[str | None, typer.Option(metavar="ORIGIN", help="Origin header, as a web page sends.")] = None,
    subprotocol: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Subprotocol (repeatable).")] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="CA certificates to trust, PEM.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not check the TLS certificate.")] = False,
    uds: Annotated[str | None, typer.Option(metavar="PATH", help="Connect through this Unix socket.")] = None,
    *,
    who: CredentialOptions,
    config: ConfigFile = None,
) -> None:
    """Talk to a server, in a terminal with a client that fills it, in a pipe by lines.

    By lines, each envelope that arrives is one line of JSON on standard output. A line of input that is a JSON
    object with a "type" is sent as an envelope; any other object, list or text is the data of a message. At the end
    of the input it waits for replies until --linger of silence; with no input at all (such as </dev/null) it listens.
    Without a token it connects as a guest.
    """
    from wsclient.goals import Goal
    from wsclient.piping import SendOptions
    from wsclient.script import ScriptOptions

    by_lines = plain or not _fills_terminal()
    by_lines = by_lines or any(one is not None for one in (send, expect, until, count, timeout, rate))
    saved = _saved(profile, config, url)
    goal = Goal(
        expect=frozenset(expect or ()),
        until=None if until is None else read_filter(until, "--until"),
        count=count,
    )
    options = ScriptOptions(
        sends=SendOptions(
            # Arguments that are not UTF-8 come as lone surrogates, which no frame can hold.
            first=[line.encode(errors="surrogateescape").decode(errors="replace") for line in send or ()],
            bare_type=type,
            expands_first=templates is not False,
            expands_input=templates is True,
            per_second=rate,
            as_is=raw,
            adds_ids=not raw,
            probes=goal.wants_errors,
        ),
        goal=goal,
        shows=read_filter(filter or "", "--filter"),
        timeout_s=None if timeout is None else timeout / 1000,
        linger_s=linger / 1000,
        stop_at_eof=is_terminal(),
        raw=raw,
        show_pings=not auto_pong,
    )
    if open is not None:
        _look_through(open, options, by_lines, theme, config)
        return
    dial = dial_options(header=header, origin=origin, subprotocol=subprotocol, ca=ca, insecure=insecure, uds=uds)
    credentials = who.credentials()
    own = credentials.is_named
    comes_back = is_terminal() if reconnect is None else reconnect
    joined = session or saved.session

    def new_client(target: Profile, pasted: str | None) -> Client:
        from wsclient import Client

        of_target = Credentials(
            pasted, None if target.token_file is None else Path(target.token_file), target.sub, credentials.secret
        )
        tokens = (credentials if own else of_target).source(dial)
        policy = ReconnectPolicy() if comes_back else None
        return Client(
            target.url, token=tokens, session_id=target.session, reconnect=policy, auto_pong=auto_pong, dial=dial
        )

    first = Profile(saved.url, joined, saved.sub, saved.token_file)
    client = new_client(first, None)
    if by_lines:
        asyncio.run(run_script(client, options, stdin_lines(), record))
    else:
        collector.rest()  # until its first frame is drawn
        from cli.terminal import run_terminal

        # The form is for who said nothing about where to go or who to be.
        named = own or any(one is not None for one in (url, profile, session, uds))
        run_terminal(
            url=saved.url,
            session=joined,
            new_client=new_client,
            client=(lambda: new_client(first, None)) if named else None,
            config=config,
            theme=theme,
            record=record,
            shows=options.shows,
        )


def _fills_terminal() -> bool:
    return is_terminal() and sys.stdout is not None and sys.stdout.isatty()


def _saved(profile: str | None, config: Path | None, url: str | None) -> Profile:
    if profile is None:
        return Profile(url or DEFAULT_URL)
    path = config_path(config)
    profiles = read_profiles(path)
    if profile not in profiles:
        known = f"there are {', '.join(profiles)}" if profiles else f"{path} has none"
        raise ConfigError("--profile", f"there is no {profile!r}", known)
    found = profiles[profile]
    return Profile(url or found.url, found.session, found.sub, found.token_file)


def _look_through(path: Path, options: ScriptOptions, by_lines: bool, theme: str | None, config: Path | None) -> None:
    from wsclient.recording import line_of, read_recording

    if by_lines:
        for record in read_recording(path):
            if options.shows.matches(record):
                out(record.text if options.raw else line_of(record))
        return
    records = list(read_recording(path))
    collector.rest()
    from cli.terminal import run_terminal

    def refuse(target: Profile, pasted: str | None) -> Client:
        raise ConfigError("--open", "a recording has no server")

    run_terminal(
        url="",
        session=None,
        new_client=refuse,
        client=None,
        recording=(path.name, records),
        config=config,
        theme=theme,
        shows=options.shows,
    )


command = connect

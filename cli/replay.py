"""`wsctl replay`: sends again what a recording says was sent, and prints what comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.clock import now_ms
from cli.connecting import CredentialOptions, dial_options, read_filter, run_script
from cli.output import note
from cli.settings import ConfigFile, duration_option
from cli.spreading import spread
from wsclient.url import DEFAULT_URL
from wscore.errors import ConfigError


@spread
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="A ws:// or wss:// URL.")] = DEFAULT_URL,
    speed: Annotated[str, typer.Option(metavar="N|max", help="So many times as fast; max: without a pause.")] = "1",
    session: Annotated[str | None, typer.Option(metavar="ID", help="Session to join.")] = None,
    filter: Annotated[
        str | None, typer.Option(metavar="FILTER", help="Print only what matches, such as 'type:chat.* /regex/'.")
    ] = None,
    keep_timestamps: Annotated[
        bool, typer.Option("--keep-timestamps", help="Send the timestamps as they were recorded.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Record what is sent and what comes back to this new file.")
    ] = None,
    linger: Annotated[int, duration_option("Silence at the end that ends it.", show_default="500ms")] = 500,
    *,
    who: CredentialOptions,
    config: ConfigFile = None,
) -> None:
    """Play a recording back to a server: what was sent is sent again, with the gaps it had.

    What arrives is printed as `wsctl connect` prints it. To look through a recording without a server, use
    `wsctl connect --open FILE`.
    """
    from wsclient.goals import NO_GOAL
    from wsclient.piping import SendOptions
    from wsclient.recording import read_recording
    from wsclient.replay import Playback
    from wsclient.script import ScriptOptions

    playback = Playback(read_recording(file), speed=_pace(speed), fresh=not keep_timestamps, now_ms=now_ms)
    if not len(playback):
        raise ConfigError(str(file), "has no message that was sent", "record with `wsctl connect --record FILE`")
    dial = dial_options()
    tokens = who.credentials().source(dial)
    options = ScriptOptions(
        sends=SendOptions(as_is=True, noun="message"),
        goal=NO_GOAL,
        linger_s=linger / 1000,
        shows=read_filter(filter or "", "--filter"),
    )

    async def run() -> None:
        from wsclient import Client

        client = Client(url, token=tokens, session_id=session, reconnect=None, dial=dial)
        await run_script(client, options, playback.lines(), record)

    asyncio.run(run())
    note(f"{playback.given} messages in {playback.took_s:.1f} s (recorded in {playback.recorded_s:.1f} s)")


def _pace(speed: str) -> float | None:
    if speed == "max":
        return None
    try:
        pace = float(speed.removesuffix("x"))
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        raise ConfigError("--speed", f"{speed!r} is not a speed", "write 1, 10 or max")
    return pace


command = replay

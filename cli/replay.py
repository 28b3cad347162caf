"""`wsctl replay`: sends again what a recording says was sent, and prints what comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.connecting import run_script
from cli.options.connection import ConnectionOptions, KeepingOptions, Url
from cli.options.lines import PlaybackOptions
from cli.options.output import ShownOptions
from cli.options.protocol import ProtocolOptions
from cli.output import note
from cli.settings import ConfigFile
from cli.spreading import spread
from wscore.errors import ConfigError
from wscore.foreign import ProtocolName
from wscore.wallclock import now_ms


@spread
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording.")],
    url: Url = None,
    *,
    playback: PlaybackOptions,
    shown: ShownOptions,
    connection: ConnectionOptions,
    protocol: ProtocolOptions,
    keeping: KeepingOptions,
    config: ConfigFile = None,
) -> None:
    """Play a recording back to a server: what was sent is sent again, with the gaps it had.

    What arrives is printed as `wsctl connect` prints it. To look through a recording without a server, use
    `wsctl connect --open FILE`.
    """
    from wsclient.goals import NO_GOAL
    from wsclient.piping import SendOptions
    from wsclient.recording import read_recording
    from wsclient.replay import RecordingPlayer
    from wsclient.script import ScriptOptions

    pace = _pace(playback.speed)
    target = connection.target.place(url, config)
    speaks = protocol.settings(target.speaks)
    adapter = None if speaks.name in (ProtocolName.AUTO, ProtocolName.WSCTL) else speaks.adapter(now_ms)
    played = RecordingPlayer(
        read_recording(file), speed=pace, fresh=not playback.keep_timestamps, now_ms=now_ms, adapter=adapter
    )
    if not len(played):
        raise ConfigError(str(file), "has no message that was sent", "record with `wsctl connect --record FILE`")
    client = connection.connector(lambda _: speaks).client(
        target, reconnect=keeping.policy(), auto_pong=keeping.auto_pong, rooms=keeping.rooms()
    )
    options = ScriptOptions(
        sends=SendOptions(as_is=True, noun="message"),
        goal=NO_GOAL,
        linger_s=playback.linger / 1000,
        shows=shown.shows(),
        show_pings=not keeping.auto_pong,
        verbose=shown.verbose,
    )
    asyncio.run(run_script(client, options, played.lines(), shown.record))
    note(f"{played.given} messages in {played.took_s:.1f} s (recorded in {played.recorded_s:.1f} s)")


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

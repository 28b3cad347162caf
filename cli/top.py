"""`wsctl top`: a live view of a running server or cluster in a terminal, or one sample of it as JSON."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from cli import collector
from cli.options.operator import OperatorOptions
from cli.options.output import Json
from cli.options.top import TopOptions
from cli.output import out_json
from cli.settings import ConfigFile
from cli.spreading import spread
from cli.stdin import is_terminal
from wscore.errors import ConfigError

if TYPE_CHECKING:
    from wsclient.publishing.publisher import AsyncPublisher
    from wsclient.top.sample import ServerSample


@spread
def top(*, view: TopOptions, target: OperatorOptions, json: Json = False, config: ConfigFile = None) -> None:
    """Watch a running server or cluster: load by worker, connections, rooms, endings; kick after a question.

    It asks the operations port of a server, and through it all that share its broker. With --json it prints one
    sample, with rates over --interval, and ends.
    """
    interval_s = view.interval_s()
    publisher = target.asked_on_a_loop()
    if json:
        out_json(asyncio.run(_sample(publisher, interval_s)))
        return
    if not (is_terminal() and sys.stdout.isatty()):
        raise ConfigError("wsctl top", "needs a terminal", "--json prints one sample")
    _run(publisher, asyncio.run(_first(publisher)), interval_s, view.theme)


def _run(publisher: AsyncPublisher, first: ServerSample, interval_s: float, theme: str | None) -> None:
    collector.rest()  # until its first frame is drawn
    from cli.terminal import run_app
    from wsclient.top.app import TopApp

    run_app(TopApp(publisher, publisher.url, first, interval_s=interval_s, on_drawn=collector.work), theme)


async def _first(publisher: AsyncPublisher) -> ServerSample:
    """Read one sample: what cannot be asked is told before a screen opens."""
    from wsclient.top.reading import Wanted, read_sample

    async with publisher:  # whose connections belong to this event loop
        return await read_sample(publisher, Wanted())


async def _sample(publisher: AsyncPublisher, interval_s: float) -> dict[str, Any]:
    """Return what two samples tell, and who is connected."""
    from wsclient.top.reading import Wanted, read_sample
    from wsclient.top.sample import overview

    async with publisher:
        before = await read_sample(publisher, Wanted())
        await asyncio.sleep(interval_s)
        sample = await read_sample(publisher, Wanted())
    view = overview(sample, before)
    return {
        "intervalMs": round((sample.at_s - before.at_s) * 1000),
        **msgspec.to_builtins(view),
        "rooms": msgspec.to_builtins(sample.rooms.rooms),
        "connections": msgspec.to_builtins(sample.connections.connections),
    }


command = top

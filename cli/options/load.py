"""The options that the load tests share, as groups whose fields become options of each command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import typer

from cli.options.credentials import CrowdOptions
from cli.options.handshake import ClientTlsOptions, HandshakeOptions
from cli.options.output import Json
from cli.options.protocol import ProtocolOptions
from cli.settings import duration_option
from cli.spreading import OptionGroup
from loadtest.dialogue import ReplyBy
from loadtest.options import PAYLOAD, PUBLISHERS, Option, Unit

DEFAULT_GRACE_MS: Final = 5000

Processes = Annotated[int, typer.Option(min=1, metavar="N", help="Processes to drive it with.")]


def option_of(hint: Any) -> Any:
    """Turn the hint of a scenario's option into one for the command line."""
    for info in getattr(hint, "__metadata__", ()):
        if isinstance(info, Option):
            shown: dict[str, Any] = {"help": info.help, "show_default": info.shown_default or True}
            if info.unit is Unit.FLAG:
                return Annotated[hint.__origin__, typer.Option(info.name, help=info.help)]
            if info.unit is Unit.DURATION:
                return Annotated[hint.__origin__, duration_option(**shown)]
            return Annotated[hint.__origin__, typer.Option(min=info.least, metavar=info.metavar, **shown)]
    return hint


class MessageOptions(OptionGroup, frozen=True, kw_only=True):
    """What connections say, and how replies are told."""

    TITLE: ClassVar = "Messages"

    message: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="What is sent, with {{id}}, {{stamp}}, {{session}}, {{uuid}} and more (repeatable: in turn).",
        ),
    ] = None
    data: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Values for {{column}}, a row for each message.")
    ] = None
    reply: Annotated[ReplyBy, typer.Option(help="What tells which message a reply answers.")] = ReplyBy.AUTO
    reply_type: Annotated[str | None, typer.Option(metavar="TYPE", help="Only messages of this type are replies.")] = (
        None
    )
    reply_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Member of a reply's data with the {{id}}; means --reply key.")
    ] = None


class PatienceOptions(OptionGroup, frozen=True, kw_only=True):
    """What a connection does about a reply that does not come, and about its own end."""

    TITLE: ClassVar = "Replies and lost connections"

    reply_timeout: Annotated[int, duration_option("No connection waits longer for a reply.", show_default="10s")] = (
        10_000
    )
    reconnect: Annotated[
        bool, typer.Option("--reconnect", help="Lost connections come back, as those of clients do.")
    ] = False


class LoadTargetOptions(OptionGroup, frozen=True, kw_only=True):
    """Whom to load, and as whom."""

    TITLE: ClassVar = "Target"

    serve: Annotated[bool, typer.Option("--serve", help="Start a server for the run, in place of URL.")] = False
    who: CrowdOptions = CrowdOptions()
    handshake: HandshakeOptions = HandshakeOptions()
    trust: ClientTlsOptions = ClientTlsOptions()
    protocol: ProtocolOptions = ProtocolOptions()
    messages: MessageOptions = MessageOptions()
    patience: PatienceOptions = PatienceOptions()


class ReportOptions(OptionGroup, frozen=True, kw_only=True):
    """What decides, and where it is written."""

    TITLE: ClassVar = "Verdict and reports"

    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="Such as 'rtt.p99<50ms' (repeatable).", show_default="nothing is lost"),
    ] = None
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the reports there.")] = None
    github: Annotated[bool, typer.Option("--github", help="Add to the summary of a GitHub step, and annotate it.")] = (
        False
    )
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="PORT", help="Show the running test to Prometheus, on this port."),
    ] = None
    otlp: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Push the running test to this OpenTelemetry collector (OTEL_EXPORTER_OTLP_*)."
        ),
    ] = None
    json: Json = False


class GateOptions(ReportOptions, frozen=True, kw_only=True):
    """As ReportOptions, with what ends a run early or fails it afterwards."""

    abort_on_fail: Annotated[
        int | None, duration_option("End the run when a threshold breaks, after this grace time (5s if not given).")
    ] = None
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Fail if it is worse than this summary.json.")
    ] = None


class MachineOptions(OptionGroup, frozen=True, kw_only=True):
    """What drives it: processes of this machine, or of several."""

    TITLE: ClassVar = "Processes and machines"

    processes: Processes = 1
    master: Annotated[
        int | None, typer.Option(min=1, max=65535, metavar="PORT", help="Wait here for workers and share the load.")
    ] = None
    expect_workers: Annotated[int, typer.Option(min=1, metavar="N", help="How many --master waits for.")] = 1
    worker: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Work for the --master there, with the same options.")
    ] = None
    web: Annotated[
        int | None, typer.Option(min=1, max=65535, metavar="PORT", help="Locust's web UI, on this port.")
    ] = None


class By(StrEnum):
    """What find-max raises."""

    CONNECTIONS = "connections"
    RATE = "rate"


class SearchOptions(OptionGroup, frozen=True, kw_only=True):
    """How far and how finely to search, and what one probe is."""

    TITLE: ClassVar = "Search"

    by: Annotated[By, typer.Option(help="What to raise.")] = By.CONNECTIONS
    start: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Where to begin.", show_default="100, or 1000/s; voice: 1")
    ] = None
    ceiling: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Where to end.", show_default="20000, or 1000000/s; voice: 1000"),
    ] = None
    step: Annotated[int | None, typer.Option(min=1, metavar="N", help="Raise by this.", show_default="double it")] = (
        None
    )
    tolerance: Annotated[float, typer.Option(metavar="SHARE", help="How finely to bisect.")] = 0.05
    connections: Annotated[int, typer.Option(min=1, metavar="N", help="Connections, with --by rate.")] = 100
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001, metavar="N", help="Messages a second, with --by connections.", show_default="as for KIND"
        ),
    ] = None
    sessions: Annotated[int, typer.Option(min=1, metavar="N", help="Sessions of a broadcast.")] = 1
    publishers: Annotated[int, PUBLISHERS] = 1
    payload_bytes: Annotated[int, PAYLOAD] = 100
    wav: Annotated[Path | None, typer.Option(metavar="FILE", help="What the callers of a voice test say.")] = None
    duration: Annotated[int | None, duration_option("What each probe measures.", show_default="5s, voice: 20s")] = None
    drain: Annotated[int | None, duration_option("Wait for late arrivals after it.", show_default="2s, voice: 30s")] = (
        None
    )
    processes: Processes = 1

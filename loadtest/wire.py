"""What passes between the command and the process that drives the load: one plan in, JSON lines out.

The command writes a `Plan` to the driver's standard input, so that no secret is in a process list; the driver
writes `RunProgress` about once a second, then one `Measured`. Locust lives in the driver alone. What
`summary.json` shows too has camelCase names.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from loadtest.dialogue import Dialogue

# Histograms in `RunProgress` and `Measured` go by these names; values in microseconds.
SERVICE = "service"  # from the moment of sending
LATENCY = "latency"  # from the intended moment of sending in the open model, else as SERVICE
CONNECT = "connect"  # TCP, TLS, upgrade and session_created
FIRST = "first"  # per broadcast: to its first receiver
MEDIAN = "median"
LAST = "last"
RECONNECT = "reconnect"  # from the drop to the next session_created
# Of a turn of a voice test, as the server's `metrics` say:
ENDPOINT = "endpoint"  # from the end of speech to the decision that it ended
ASR = "asr"  # from there to the final transcript
LLM = "llm"  # from there to the answer's first text
TTS = "tts"  # from the first sentence to the first audio
E2E = "e2e"  # from the end of speech to the first audio
STALL = "stall"  # audio that came after all before it had been played


class Phase(StrEnum):
    """Where a run is. Only `STEADY` is measured; `DRAIN` waits for late arrivals."""

    RAMP = "ramp"
    STEADY = "steady"
    DRAIN = "drain"
    DONE = "done"


class LoadStage(msgspec.Struct, frozen=True, rename="camel"):
    """Hold so many connections for so long."""

    connections: int
    seconds: float


class Tokens(msgspec.Struct, frozen=True):
    """Where tokens come from: one given `token`, JWTs minted with `secret` when `as_users`, nowhere, else guests.

    Guests are signed when there is a secret and `as_users` is false.
    """

    token: str | None = None
    secret: bytes | None = None
    as_users: bool = False
    is_none: bool = False

    @property
    def is_chosen(self) -> bool:
        """Whether somebody said who connects; a secret alone only signs guests."""
        return self.token is not None or self.as_users

    def __repr__(self) -> str:
        return f"Tokens(as_users={self.as_users})"


class Headers(msgspec.Struct, frozen=True):
    """What the request for a WebSocket carries beside its own headers: pairs of name and value."""

    items: tuple[tuple[str, str], ...] = ()

    @property
    def have_token(self) -> bool:
        """Whether they say who connects: in Authorization, or in a subprotocol `token.…`."""
        return any(
            (name.lower() == "authorization" and not value.lower().startswith("basic "))
            or (name.lower() == "sec-websocket-protocol" and any(map(_is_token, value.split(","))))
            for name, value in self.items
        )

    def __repr__(self) -> str:
        return f"Headers({', '.join(name for name, _ in self.items)})"


def _is_token(subprotocol: str) -> bool:
    return subprotocol.strip().startswith("token.")


class SentMessage(msgspec.Struct, frozen=True):
    """One message of a recording: when it was sent after the first one, its text, and whether it has a reply there."""

    offset_ms: float
    text: str
    is_answered: bool = False


class CallerSpeech(msgspec.Struct, frozen=True):
    """What every caller says: pcm16, without silence at its ends."""

    sample_rate_hz: int
    channels: int
    audio: bytes

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return len(self.audio) / (2 * self.channels * self.sample_rate_hz)


class Plan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One run. Rates are per second over all connections; `rate` is the open model, `think_ms` the closed one.

    A voice test has `speech`, and `think_ms` is what its callers wait between an answer and their next turn.
    """

    run_id: str
    kind: str  # the name of its scenario
    url: str
    connections: int
    sessions: int = 1
    rooms: int = 0  # in place of sessions, where it is more than 0
    publishers: int = 1
    except_sender: bool = False  # publishers do not get their own messages
    rate: float | None = None
    handshake_timeout_s: float = 10.0  # for the connection, and then for the greeting
    reply_timeout_s: float = 10.0  # after which a connection no longer waits for a reply
    reconnects: bool = False  # lost connections come back
    think_ms: float | None = None
    payload_bytes: int = 100
    ramp_s: float = 1.0
    duration_s: float = 10.0
    drain_s: float = 2.0
    stages: tuple[LoadStage, ...] = ()
    processes: int = 1
    tokens: Tokens = Tokens()
    headers: Headers = Headers()
    dialogue: Dialogue | None = None  # with a server of another protocol
    protocol: str = "wsctl"  # what is spoken, and how that was found out, for people
    script: str | None = None  # a file with Locust users
    recording: tuple[SentMessage, ...] = ()
    speed: float = 1.0
    plays_once: bool = False  # the recording; else again and again until the window ends
    speech: CallerSpeech | None = None
    server_pid: int | None = None  # to watch its memory
    ca: str | None = None  # file with the certificates to trust, on the machine that dials
    insecure: bool = False
    cert: str | None = None  # client certificate and its key, files on the machine that dials
    key: str | None = None
    web_port: int | None = None  # Locust's web UI
    master_port: int | None = None  # be a Locust master and wait for `expected_workers`
    expected_workers: int = 0
    worker_of: str | None = None  # host:port of the Locust master to work for

    @property
    def speaks_wsctl(self) -> bool:
        """Whether the target is a wsctl server, which may hear messages of one's own."""
        return self.dialogue is None or self.dialogue.is_ours

    @property
    def groups(self) -> int:
        """Over how many sessions or rooms the connections are spread."""
        return self.rooms or self.sessions

    def group_name(self, which: int | str) -> str:
        """Return the name of a session or room."""
        return f"load-{self.run_id}-{which}"


class Histograms(msgspec.Struct, frozen=True):
    """HdrHistograms by name, in the library's own encoding (base64 text); merging them is exact."""

    encoded: dict[str, str] = {}


class Ledger(msgspec.Struct, frozen=True):
    """What became of the broadcasts, summed over receivers, or of the requests."""

    published: int = 0
    expected: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    late: int = 0  # of those received: so late that nobody waited for them any more
    misdelivered: int = 0  # to another session, or to another connection than the one that asked
    unknown: int = 0  # which nobody sent, or nobody asked for
    corrupt: int = 0  # not as they were sent


class ReceiverLedger(msgspec.Struct, frozen=True, rename="camel"):
    """What went wrong at one connection: its number in the run, its session, and counts by their name in the ledger.

    Without a session it is in one of its own, and in a room if there is one.
    """

    connection: int
    session: int | None
    faults: dict[str, int]
    room: int | None = None


class StepLedger(msgspec.Struct, rename="camel"):
    """What became of one kind of step of people's own users that waits for a message."""

    expected: int = 0
    lost: int = 0  # it failed, and no late message answered it


class RecoveryLedger(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of those who came back to their sessions with a position, and of the events counted by `seq`.

    None is what was not measured: no event came, or none behind which nothing can be missing.
    """

    asked: int  # connections that came back
    resumed: int  # recovered: true
    unrecovered: int  # told that history is gone
    confirmed: int  # of those that came back: an event came afterwards, so what is missing before it is known
    replayed: int | None
    lost: int | None  # nobody said that they are gone
    doubled: int | None


class Generator(msgspec.Struct, frozen=True, rename="camel"):
    """How the driver itself fared; `doubts` say why its figures cannot be trusted, empty when they can."""

    cpu_percent: float = 0.0  # the highest of its processes over the steady window
    lag_p99_us: float = 0.0  # how late its loop was
    lag_max_us: float = 0.0
    open_files: int = 0
    file_limit: int = 0
    receive_floor_us: float = 0.0  # what one receipt costs it
    late_sends: int = 0  # open model: sent more than 10 ms after they were due
    doubts: tuple[str, ...] = ()


class HostClock(msgspec.Struct, frozen=True, rename="camel"):
    """Which clock one-way latencies use: the machine's monotonic one, or estimated offsets between hosts."""

    kind: str = "monotonic"
    uncertainty_us: float = 0.0


class Second(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One second of a run. Counts are since the start, figures of this second alone; times in seconds or µs."""

    elapsed_s: float
    phase: Phase
    connected: int
    wanted: int
    sent: int
    received: int
    errors: int
    sent_per_s: float
    received_per_s: float
    p50_us: float | None = None
    p99_us: float | None = None
    max_us: float | None = None
    server_rss_kib: int | None = None
    cpu_percent: float = 0.0
    lost: int = 0  # of what was sent in this second, known at the end; while it runs: what has not come so far
    failed_connections: int = 0
    lost_connections: int = 0
    missed_heartbeats: int = 0
    duplicated: int = 0
    reordered: int = 0
    late: int = 0
    misdelivered: int = 0
    unknown: int = 0
    corrupt: int = 0


class LatencyFigures(msgspec.Struct, frozen=True, rename="camel"):
    """A kind of latency in the window so far, or since the start where it is about connecting; to 1 %, in µs."""

    count: int
    mean_us: float
    max_us: float
    percentiles_us: dict[str, float]
    latest_max_us: float = 0.0  # in this second


class RunProgress(Second, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag="progress"):
    """A second as the driver reports it, with all kinds of latencies by name."""

    figures: dict[str, LatencyFigures] = {}


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured"):
    """What a run came to. Counts and histograms are those of the steady window, connections those of the whole run."""

    run_id: str
    started_at_ms: int
    steady_s: float
    peak_connections: int
    connections_opened: int
    connections_failed: int
    connections_lost: int
    sent: int
    received: int
    asked: int = 0  # what was due in the window, whether or not its connection was there to send it
    away_s: float = 0.0  # connection-seconds of the window in which a connection had failed or was lost
    errors: dict[str, int] = {}  # by text, such as `connection refused` or `RATE_LIMITED`
    close_codes: dict[str, int] = {}
    close_reasons: dict[str, int] = {}  # by the code and what the target said, such as `4009 Session timed out`
    workers: dict[int, int] = {}  # connections opened, by the number of the server's worker, where it has several
    all_lost_at_s: float | None = None  # since the start, when every connection was lost
    target_died_at_s: float | None = None  # the same, if it took no connection any more
    resumed: int = 0
    recovery: RecoveryLedger | None = None
    heartbeats_missed: int = 0
    server_rss_kib: tuple[int, int] | None = None  # at the start and at the end of the window
    ledger: Ledger = Ledger()
    receivers: tuple[ReceiverLedger, ...] = ()  # the worst ones
    receivers_affected: int = 0
    steps: dict[str, StepLedger] = {}  # of people's own users, by name
    marks: int = 0  # of theirs that came
    unpaired: int = 0  # messages beside the replies, where those are told by their order
    lost_by_second: dict[int, int] = {}  # of what was sent in that second of the run
    histograms: Histograms = Histograms()
    generator: Generator = Generator()
    clock: HostClock = HostClock()
    was_interrupted: bool = False


DriverReport = RunProgress | Measured

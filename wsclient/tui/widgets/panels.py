"""What stands around the stream: status line, health, the latest message of each type, variables."""

from __future__ import annotations

from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Sparkline, Static

from wsclient.templates import TemplateContext
from wsclient.tui.model.health import Health, percentile
from wsclient.tui.model.ring import Entry, MessageRing
from wsclient.tui.model.rows import clock_time, preview, size_text
from wscore.text import neutralise
from wscore.units import format_duration, format_size

_STATE_STYLES = {"open": "$text-success", "closed": "$text-error"}


def round_trip_text(health: Health) -> str:
    """Return `p50/p95/p99` of the round trips in ms, or what is known instead."""
    figures = [percentile(health.round_trips_ms, percent) for percent in (50, 95, 99)]
    return "–" if figures[0] is None else "/".join(f"{figure:.1f}" for figure in figures if figure is not None) + " ms"


class StatusLine(Static):
    """State, target, who we are, rates, round trip, and what is going on."""

    DEFAULT_CSS = """
    StatusLine { height: 1; background: $panel; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    StatusLine.-problem { height: auto; max-height: 6; text-wrap: wrap; }
    """

    def __init__(self, health: Health, target: str, *, id: str | None = None) -> None:
        super().__init__(markup=False, id=id)
        self._health = health
        self._target = target

    def show(self, flags: list[str], now_ms: int) -> None:
        """Draw it anew; `flags` are short words such as `paused`."""
        health = self._health
        style = _STATE_STYLES.get(health.state, "$text-warning")
        state = health.state
        if health.reconnect_at_ms is not None:
            state += f" in {max(0, health.reconnect_at_ms - now_ms) / 1000:.0f} s"
        rates = f"▲ {health.sent.messages_per_s}/s ▼ {health.received.messages_per_s}/s"
        user = "" if health.session is None else f" {neutralise(health.session.user_id)[:24]}"
        parts: list[str | tuple[str, str]] = [("● ", style), (state, style)]
        for flag in flags:
            parts += ["  ", (f" {flag} ", "$text on $warning 60%")]
        has_problem = bool(health.problem) and health.state != "open"
        self.set_class(has_problem, "-problem")
        if has_problem:
            # In lines of its own, however many it takes; how fast nothing goes says nothing.
            parts.append((f"  {neutralise(health.problem)}", "$text-error"))
            self.update(Content.assemble(*parts, f"\n  {neutralise(self._target)}"))
            return
        parts.append(f"  {rates}  rtt {round_trip_text(health)}  {neutralise(self._target)}{user}")
        self.update(Content.assemble(*parts))


class Panel(Widget):
    """Stands above the stream while somebody wants to see it; the main screen has the style of all panels."""

    DEFAULT_CLASSES = "panel"

    def toggle(self) -> None:
        """Show or hide it."""
        self.toggle_class("-shown")
        self.show()

    def show(self) -> None:
        """Draw it anew, if it is to be seen; called each second."""
        if self.has_class("-shown"):
            self.draw()

    def draw(self) -> None:
        """Draw it anew."""
        raise NotImplementedError


class HealthPanel(Vertical, Panel):
    """Round trips as a sparkline with percentiles, rates both ways, and what the server allows."""

    DEFAULT_CSS = "HealthPanel Sparkline { height: 1; }"

    def __init__(self, health: Health, ring: MessageRing, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._health = health
        self._ring = ring
        self._words = Static(markup=False, id="health-words")
        self._round_trips = Sparkline([], id="health-rtt")

    def on_mount(self) -> None:
        """Take words and sparkline in once the screen is to be seen, which is sooner without them."""
        self.call_after_refresh(self.mount, self._words, self._round_trips)

    def draw(self) -> None:
        """Draw it anew."""
        health = self._health
        lines = [
            f"round trip p50/p95/p99 {round_trip_text(health)} over {len(health.round_trips_ms)} pings",
            f"sent     {health.sent.messages} messages, {size_text(health.sent.bytes)} bytes; now "
            f"{health.sent.messages_per_s}/s, {size_text(health.sent.bytes_per_s)} bytes/s",
            f"received {health.received.messages} messages, {size_text(health.received.bytes)} bytes; now "
            f"{health.received.messages_per_s}/s, {size_text(health.received.bytes_per_s)} bytes/s",
        ]
        forgotten = f"; {self._ring.forgotten:,} older ones are forgotten" if self._ring.forgotten else ""
        lines.append(
            f"kept     {len(self._ring):,} rows, {size_text(self._ring.size_bytes)} bytes of memory{forgotten}"
        )
        if (session := health.session) is not None:
            lines.append(
                f"session {neutralise(session.session_id)}, user {neutralise(session.user_id)}, "
                f"connection {neutralise(session.connection_id)}"
            )
            heartbeat = session.heartbeat
            lines.append(
                f"limits: messages up to {format_size(session.limits.max_message_bytes)}; heartbeat every "
                f"{format_duration(heartbeat.interval_ms)}, gone after {format_duration(heartbeat.timeout_ms)}"
            )
        if health.problem:
            lines.append(neutralise(health.problem))
        self._words.update(Content("\n".join(lines)))
        self._round_trips.data = list(health.round_trips_ms) or [0.0]


class Latest(Static, Panel):
    """One line for each type: how many there were, when the last came, and its start."""

    DEFAULT_CSS = "Latest { max-height: 8; text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, ring: MessageRing, *, id: str | None = None) -> None:
        super().__init__(markup=False, id=id)
        self._ring = ring

    def draw(self) -> None:
        """Draw it anew; the types that came last stand first."""
        newest = sorted(self._ring.latest.items(), key=lambda item: -item[1].number)[:8]
        self.update(Content("\n".join(self._line(*item) for item in newest) or "nothing came yet"))

    def _line(self, kind: str, entry: Entry) -> str:
        count = self._ring.counts[kind]
        return f"{neutralise(kind)[:20]:<20} ×{count:<6} {clock_time(entry.at_ms)} {preview(entry)}"


class Variables(Static, Panel):
    """One line for each variable that is captured: its value, and where that is taken from."""

    DEFAULT_CSS = "Variables { max-height: 8; text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, templates: TemplateContext, *, id: str | None = None) -> None:
        super().__init__(markup=False, id=id)
        self._templates = templates

    def draw(self) -> None:
        """Draw it anew."""
        lines = [
            f"{{{{{name}}}}}  {path}  " + ("no message had it yet" if value is None else neutralise(value[:400]))
            for name, path, value in self._templates.captures
        ]
        self.update(Content("\n".join(lines) or "nothing is captured; v keeps a value of the selected message"))

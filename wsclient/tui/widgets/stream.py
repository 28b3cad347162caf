"""The list of messages: one row each, drawn only where it is seen, following the end until somebody scrolls up."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from wsclient.filters import EVERYTHING
from wsclient.tui.commands import bindings
from wsclient.tui.model.filtered import FilteredView
from wsclient.tui.model.ring import Entry, MessageRing
from wsclient.tui.model.rows import columns

_PARTS: Final = ("time", "sent", "received", "error", "note", "dim", "reply", "text")


class Stream(ScrollView, can_focus=True):
    """Shows a filtered view of the ring; `refresh_rows` takes in what came, many times a second at most."""

    HELP = """
## Stream

One row a message: time, direction (▲ sent, ▼ received), type, session, size, time since the row before, preview.
A reply shows how long its request waited (↩).

Moving up stops following the end; `end` follows again. `space` pauses without losing anything.
`f` filters: `type:chat.* -type:ping dir:in session:abc /regex/ errors text`. `/` searches, `n` and `N` go on,
also in the detail when it has the focus (`tab`).
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="stream.up"),
        Binding("down,j", "move(1)", "Down", show=False, id="stream.down"),
        Binding("pageup", "move_page(-1)", "Page up", show=False, id="stream.page-up"),
        Binding("pagedown", "move_page(1)", "Page down", show=False, id="stream.page-down"),
        Binding("home,g", "first", "First", show=False, id="stream.first"),
        Binding("end,G", "follow", "Follow", show=False, id="stream.follow"),
        *bindings(in_stream=True),
        Binding("p", "partner", "Go to request/reply", show=False, id="stream.partner"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"stream--{part}" for part in (*_PARTS, "cursor", "match")}
    DEFAULT_CSS = """
    Stream { height: 1fr; overflow-x: hidden; scrollbar-gutter: stable; background: $background; }
    Stream > .stream--time { color: $foreground 60%; }
    Stream > .stream--dim { color: $foreground 60%; }
    Stream > .stream--sent { color: $text-accent; }
    Stream > .stream--received { color: $text-success; }
    Stream > .stream--error { color: $text-error; text-style: bold; }
    Stream > .stream--note { color: $text-warning; text-style: italic; }
    Stream > .stream--reply { color: $text-primary; }
    Stream > .stream--text { color: $foreground; }
    Stream > .stream--match { background: $warning; color: $background; }
    Stream > .stream--cursor { background: $block-cursor-blurred-background; color: $block-cursor-blurred-foreground; }
    Stream:focus > .stream--cursor { background: $block-cursor-background; color: auto; text-style: bold; }
    """

    class Selected(Message):
        """Another entry is under the cursor, or none."""

        def __init__(self, entry: Entry | None) -> None:
            self.entry = entry
            super().__init__()

    class Followed(Message):
        """Following the end began, stopped, or more rows wait below."""

    def __init__(self, ring: MessageRing, view: FilteredView, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ring = ring
        self.view = view
        self._selected: int | None = None
        self.marks = EVERYTHING  # what is searched for
        self.follows = True
        self.unseen = 0

    @property
    def selected(self) -> Entry | None:
        """The entry under the cursor."""
        return self._ring.get(self._selected)

    @property
    def cursor_number(self) -> int | None:
        """The number of that entry."""
        return self._selected

    def refresh_rows(self) -> None:
        """Take in what came since, and draw."""
        added, lost = self.view.catch_up()
        if added or lost:
            self.unseen += 0 if self.follows else added
            self._laid_out(lost)

    def show_anew(self) -> None:
        """Draw after the view has chosen anew; the cursor stays on its message or on the next one."""
        if not self.follows and self._selected is not None:
            self._select(min(self.view.position(self._selected), len(self.view) - 1))
        self._laid_out(0)

    def go_to(self, position: int) -> None:
        """Put the cursor on a row; on any but the last it stops following."""
        position = max(0, min(position, len(self.view) - 1))
        self._set_follows(position == len(self.view) - 1)
        self._select(position)
        self._reveal(position)

    def cursor_position(self) -> int:
        """Return the row of the cursor."""
        return len(self.view) - 1 if self._selected is None else self.view.position(self._selected)

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width = self.size.width
        entry = self.view.entry(self.scroll_offset.y + y)
        base = self.get_visual_style()
        if entry is None:
            return Strip.blank(width, base.rich_style)
        is_marked = entry.number == self._selected
        if is_marked:
            base = self.get_visual_style("stream--cursor")
        request = self._ring.get(entry.partner) if entry.partner is not None and entry.partner < entry.number else None
        latency_ms = None if request is None else entry.at_ms - request.at_ms
        parts = [
            # No colour of a part can be read on each theme's cursor.
            (text, "" if is_marked else self.get_visual_style(f"stream--{part}", partial=True))
            for part, text in columns(entry, width, latency_ms)
        ]
        row = Content.assemble(*parts)
        start = len(row) - len(parts[-1][0])  # time, type and size are ours
        for begin, end in [] if self.marks.is_empty else self.marks.spans(parts[-1][0]):
            row = row.stylize(self.get_visual_style("stream--match"), start + begin, start + end)
        return Strip(row.render_segments(base)).crop_extend(0, width, base.rich_style)

    def on_resize(self, event: Resize) -> None:
        """Keep the end in sight when the terminal changes its size."""
        self._laid_out(0)

    def on_click(self, event: Click) -> None:
        """Put the cursor where the mouse is."""
        self.go_to(self.scroll_offset.y + event.y)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following when somebody scrolls up with the wheel or the bar, follow again at the end."""
        super().watch_scroll_y(old_value, new_value)
        if round(new_value) < round(old_value) and new_value < self.max_scroll_y and self._scrolled_by_hand:
            self._set_follows(False)

    _scrolled_by_hand = True

    def action_move(self, step: int) -> None:
        """Move the cursor by rows."""
        self.go_to(self.cursor_position() + step)

    def action_move_page(self, step: int) -> None:
        """Move the cursor by pages."""
        self.go_to(self.cursor_position() + step * max(1, self.size.height - 1))

    def action_first(self) -> None:
        """Go to the oldest row."""
        self.go_to(0)

    def action_follow(self) -> None:
        """Go to the newest row and stay there."""
        self._set_follows(True)
        self._laid_out(0)

    def action_partner(self) -> None:
        """Go from a request to its reply or back."""
        if self.selected is not None and self.selected.partner is not None:
            self.go_to(self.view.position(self.selected.partner))

    def _laid_out(self, lost: int) -> None:
        """Fit the height to the rows; `lost` rows at the start move everything up."""
        size = len(self.view)
        self._scrolled_by_hand = False
        self.virtual_size = Size(self.size.width, size)
        if self.follows:
            self._select(size - 1)
            self.scroll_to(y=self.max_scroll_y, animate=False)
        elif lost:
            self.scroll_to(y=max(0, self.scroll_offset.y - lost), animate=False)
            if self.selected is None:
                self._select(0)
        self._scrolled_by_hand = True
        self.refresh()

    def _reveal(self, position: int) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height)
        self._scrolled_by_hand = False
        if position < top:
            self.scroll_to(y=position, animate=False)
        elif position >= top + height:
            self.scroll_to(y=position - height + 1, animate=False)
        self._scrolled_by_hand = True
        self.refresh()

    def _select(self, position: int) -> None:
        entry = self.view.entry(position)
        number = None if entry is None else entry.number
        if number != self._selected:
            self._selected = number
            self.post_message(self.Selected(entry))

    def _set_follows(self, follows: bool) -> None:
        if follows:
            self.unseen = 0
        if follows != self.follows:
            self.follows = follows
            self.post_message(self.Followed())

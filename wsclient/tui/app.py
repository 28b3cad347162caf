"""The application: which screen comes first, the palette, keys and themes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from wsclient.filters import EVERYTHING, MessageFilter
from wsclient.happenings import Happening
from wsclient.recording import Record
from wsclient.templates import TemplateContext
from wsclient.tui.commands import COMMANDS
from wsclient.tui.io.live import LiveConnection
from wsclient.tui.main_screen import MainScreen
from wsclient.tui.model.health import Health
from wsclient.tui.model.history import History
from wsclient.tui.model.ring import DEFAULT_LIMIT, MessageRing
from wsclient.tui.model.saved import SavedMessages
from wsclient.tui.model.target import Target
from wsclient.tui.terminalapp import TerminalApp
from wsclient.tui.widgets.bar import Bar
from wsclient.tui.widgets.composer import Composer
from wsclient.tui.widgets.detail import Detail
from wsclient.tui.widgets.stream import Stream
from wsclient.url import shown_url
from wscore.wallclock import now_ms

if TYPE_CHECKING:
    from wsclient.client import Client
    from wsclient.tui.widgets.form import ConnectForm


def binding_ids() -> frozenset[str]:
    """Return the names of all keys that a keymap may change."""
    from wsclient.tui.widgets.form import ConnectForm
    from wsclient.tui.widgets.picker import DraftPicker
    from wsclient.tui.widgets.savedpicker import SavedPicker

    owners = (ConnectApp, MainScreen, Stream, Detail, Composer, Bar, DraftPicker, SavedPicker, ConnectForm)
    bindings = (binding for owner in owners for binding in owner.BINDINGS)
    return frozenset(binding.id for binding in bindings if isinstance(binding, Binding) and binding.id)


class ConnectApp(TerminalApp):
    """The terminal client.

    It begins with the main screen when there is a `client` to connect with or a `recording` to look through, else
    with the form; `new_client` makes a client for what the form says, and raises WsctlError when it cannot.
    Options that are `given` by their names win over what the form says.
    `captures` are the variables that are taken from what comes, path by name. With `verbose` the handshake is shown
    from the start. `on_drawn` is called once the first screen is to be seen.
    """

    TITLE = "wsctl"
    HORIZONTAL_BREAKPOINTS: list[tuple[int, str]] | None = [(140, "-wide")]  # noqa: RUF012
    # The help scrolls as a whole, by the wheel over any part of it and by keys: it never has the focus, it follows it.
    CSS = """
    HelpPanel { overflow-y: auto; }
    HelpPanel #widget-help { height: auto; max-height: 1000; overflow-y: hidden; }
    HelpPanel KeyPanel, HelpPanel #keys-help { height: auto; max-height: 1000; overflow-y: hidden; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "toggle_help", "Help", id="help"),
        Binding("alt+pagedown", "scroll_help(1)", "Help down", show=False, priority=True, id="help.down"),
        Binding("alt+pageup", "scroll_help(-1)", "Help up", show=False, priority=True, id="help.up"),
        Binding("ctrl+q", "quit", "Quit", priority=True, id="quit"),
    ]

    def __init__(
        self,
        *,
        target: Target,
        new_client: Callable[[Target], Client],
        history_path: Path,
        saved_path: Path | None = None,
        client: Callable[[], Client] | None = None,
        recording: tuple[str, Sequence[Record | Happening]] | None = None,
        profiles: Mapping[str, Target] | None = None,
        given: frozenset[str] = frozenset(),
        save_profile: Callable[[str, Target], None] | None = None,
        keys: Mapping[str, str] | None = None,
        record: Path | None = None,
        shows: MessageFilter = EVERYTHING,
        captures: Mapping[str, str] | None = None,
        verbose: bool = False,
        ring_limit: int = DEFAULT_LIMIT,
        now_ms: Callable[[], int] = now_ms,
        on_drawn: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self._target = target
        self._new_client = new_client
        self._history = History(history_path)
        self._saved = SavedMessages(saved_path or history_path.with_name("messages.jsonl"))
        self._client = client
        self._recording = recording
        self._profiles = dict(profiles or {})
        self._given = given
        self._save_profile = save_profile
        self._record = record
        self._shows = shows
        self._captures = captures
        self._verbose = verbose
        self._ring_limit = ring_limit
        self._now_ms = now_ms
        self._on_drawn = on_drawn
        if keys:
            self.set_keymap(dict(keys))

    def get_default_screen(self) -> Screen[None]:
        """Return the first screen: a screen pushed over a blank one is drawn later by a tenth of the start."""
        screen = self._first_screen()
        screen._push_result_callback(screen, None)  # as every other screen has; without, it cannot be switched
        return screen

    def _first_screen(self) -> Screen[None]:
        if self._recording is not None:
            return self._recording_screen(*self._recording)
        if self._client is not None:
            return self._main_screen(self._target, self._client)
        return self._form()

    def on_mount(self) -> None:
        """Wait for the first frame."""
        self.screen.call_after_refresh(self._on_drawn)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Put every action of the main screen into the palette, beside Textual's own."""
        yield from super().get_system_commands(screen)
        if isinstance(screen, MainScreen):
            for command in COMMANDS:
                if screen.check_action(command.action.partition("(")[0], ()):
                    yield SystemCommand(
                        command.title,
                        f"{command.help} ({command.keys})",
                        lambda command=command: self._run(screen, command.action),
                    )

    async def _run(self, screen: MainScreen, action: str) -> None:
        await screen.run_action(action)

    def action_toggle_help(self) -> None:
        """Show or hide the help, which follows the focus."""
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()

    def action_scroll_help(self, step: int) -> None:
        """Scroll the help by a page."""
        for panel in self.screen.query("HelpPanel"):
            panel.scroll_page_down(animate=False) if step > 0 else panel.scroll_page_up(animate=False)

    def _form(self) -> ConnectForm:
        from wsclient.tui.widgets.form import ConnectForm

        return ConnectForm(self._target, self._profiles, submit=self._submit, save=self._save, given=self._given)

    def _submit(self, target: Target) -> None:
        self._new_client(target)  # wrong input shows now, not in a worker
        self._target = target
        self.switch_screen(self._main_screen(target, lambda: self._new_client(target)))

    def _save(self, name: str, target: Target) -> None:
        if self._save_profile is not None:
            self._save_profile(name, target)
        self._profiles[name] = target

    def _main_screen(self, target: Target, client: Callable[[], Client]) -> MainScreen:
        ring, health, templates = MessageRing(self._ring_limit), Health(), self._templates()
        live = LiveConnection(client, ring, health, templates, now_ms=self._now_ms)
        return self._screen(ring, health, live, templates, shown_url(target.url))

    def _recording_screen(self, name: str, records: Sequence[Record | Happening]) -> MainScreen:
        ring, health = MessageRing(max(self._ring_limit, len(records)), None), Health()
        for record in records:
            if isinstance(record, Record):
                ring.add_record(record)
            else:
                ring.add_note(str(record), record.at_ms)
        health.state = "recording"
        return self._screen(ring, health, None, self._templates(), name)

    def _templates(self) -> TemplateContext:
        return TemplateContext(now_ms=self._now_ms, new_uuid=lambda: str(uuid.uuid4()), captures=self._captures)

    def _screen(
        self, ring: MessageRing, health: Health, live: LiveConnection | None, templates: TemplateContext, title: str
    ) -> MainScreen:
        return MainScreen(
            ring,
            health,
            live,
            title=title,
            history=self._history,
            saved=self._saved,
            now_ms=self._now_ms,
            templates=templates,
            record=self._record,
            shows=self._shows,
            verbose=self._verbose,
            open_form=self._back_to_form,
        )

    def _back_to_form(self) -> None:
        self.switch_screen(self._form())

"""The connect form: where to, as whom, into which session; profiles fill it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Button, Collapsible, Footer, Input, Label, Select, Static

from wsclient.tui.model.options import OPTION_FIELDS, joined_options, split_options
from wsclient.tui.model.target import Target, TokenKind
from wscore.errors import WsctlError
from wscore.foreign import ProtocolName
from wscore.text import neutralise

_KINDS = {
    TokenKind.GUEST: "a guest",
    TokenKind.SUB: "a user, with a JWT minted by WSCTL_JWT_SECRET",
    TokenKind.PASTED: "whoever this token names",
    TokenKind.FILE: "whoever the token in this file names",
    TokenKind.NONE: "whoever a cookie or a header says, without a token",
}
_PROTOCOLS = {ProtocolName.AUTO: "finds out (auto)"}
_WHO = ("token", "token-file", "sub", "no-token")
_LOGIN = ("user", "user-file")
_ASKED = {TokenKind.SUB: "user", TokenKind.PASTED: "token", TokenKind.FILE: "file"}


class ConnectForm(Screen[None]):
    """Fills in a Target. `submit` connects and raises WsctlError when it cannot; `save` keeps it under a name.

    A field of an option that is `given` is closed and says so, since that wins; what a target has in it is kept.
    """

    TITLE = "connect"
    HELP = "Enter connects. A pasted token and a password are never saved."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j", "connect", "Connect", id="form.connect"),
        Binding("ctrl+s", "save", "Save profile", id="form.save"),
    ]
    DEFAULT_CSS = """
    ConnectForm VerticalScroll { align: center middle; padding: 0 2; }
    ConnectForm #form { width: 76; max-width: 100%; height: auto; }
    ConnectForm #form > Label { color: $text-muted; margin: 1 0 0 0; }
    ConnectForm #form > Horizontal { height: auto; margin: 1 0 0 0; }
    ConnectForm #form > #where { margin: 0; height: 1; }
    ConnectForm #url { width: 1fr; }
    ConnectForm #protocol { width: 20; margin: 0 0 0 1; }
    ConnectForm #more { margin: 1 0 0 0; padding: 0; border: none; background: transparent; }
    ConnectForm .option { height: 1; }
    ConnectForm .option Label { width: 18; color: $text-muted; }
    ConnectForm .option Input { width: 1fr; }
    ConnectForm Button { margin: 0 2 0 0; }
    ConnectForm #form-problem { color: $text-error; height: auto; margin: 1 0 0 0; }
    """

    def __init__(
        self,
        target: Target,
        profiles: Mapping[str, Target],
        *,
        submit: Callable[[Target], None],
        save: Callable[[str, Target], None],
        given: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__()
        self._target = target
        self._profiles = dict(profiles)
        self._submit = submit
        self._save = save
        self._given = given
        self._kept: dict[str, str] = {}  # what stands in no field, since something else wins

    def compose(self) -> ComposeResult:
        """Yield the fields."""
        target = self._target
        with VerticalScroll(id="form"):
            if self._profiles:
                yield Label("Profile")
                yield Select(
                    [(neutralise(name), name) for name in self._profiles], prompt="none", compact=True, id="profile"
                )
            yield Label("URL, and what the server speaks")
            with Horizontal(id="where"):
                yield Input(target.url, compact=True, id="url")
                names = [(_PROTOCOLS.get(name, str(name)), name) for name in ProtocolName]
                yield Select(names, value=target.protocol, allow_blank=False, compact=True, id="protocol")
            yield Label(f"Connect as{self._winning(*_WHO)}")
            kinds = [(text, kind) for kind, text in _KINDS.items()]
            is_told = not self._given.isdisjoint(_WHO)
            yield Select(kinds, value=target.kind, allow_blank=False, compact=True, id="kind", disabled=is_told)
            yield Input(target.value, compact=True, id="value")
            yield Label("Session to join (optional)")
            yield Input(target.session, compact=True, id="session")
            with Collapsible(title="More options", id="more"):
                with Horizontal(classes="option"):
                    yield Label("User, password")
                    yield self._input("user", "of Basic auth", *_LOGIN)
                    yield self._input("password", "never saved", *_LOGIN, password=True)
                for field in OPTION_FIELDS:
                    with Horizontal(classes="option"):
                        yield Label(field.title)
                        rivals = _LOGIN if field.name in _LOGIN else (field.name,)
                        yield self._input(f"option-{field.name}", field.hint, *rivals)
            others = self._given.difference(_WHO, _LOGIN, (field.name for field in OPTION_FIELDS))
            note = self._winning(*sorted(others)) or " (optional, as on the command line)"
            yield Label(f"Other options of the connection{note}")
            yield Input(placeholder="--insecure --origin URL --type-key KEY …", compact=True, id="options")
            with Horizontal():
                yield Button("Connect", variant="primary", compact=True, id="connect")
            yield Label("Save as profile (ctrl+s)")
            yield Input(placeholder="name", compact=True, id="name")
            yield Static(markup=False, id="form-problem")
        yield Footer()

    def on_mount(self) -> None:
        """Begin with the URL."""
        self._fill_options(self._target)
        self._ask_for_value()
        self.query_one("#url", Input).focus()

    @property
    def filled_in(self) -> Target:
        """What the fields say."""
        kind = self.query_one("#kind", Select).value
        return Target(
            self.query_one("#url", Input).value.strip(),
            TokenKind(str(kind)),
            self.query_one("#value", Input).value.strip(),
            self.query_one("#session", Input).value.strip(),
            joined_options(
                {field.name: self._value(f"option-{field.name}") for field in OPTION_FIELDS},
                self.query_one("#options", Input).value,
            ),
            ProtocolName(str(self.query_one("#protocol", Select).value)),
            self._value("user").strip(),
            self._value("password"),
        )

    def action_connect(self) -> None:
        """Connect with what the fields say."""
        self._attempt(lambda: self._submit(self.filled_in))

    def action_save(self) -> None:
        """Keep the target under the name; a pasted token and a password stay out of the file."""
        name = self.query_one("#name", Input).value.strip()
        target = replace(self.filled_in, password="")
        if target.kind is TokenKind.PASTED:
            target = replace(target, kind=TokenKind.GUEST, value="")
        if not name:
            self._complain("give the profile a name")
            return
        if self._attempt(lambda: self._save(name, target)):
            self.notify(f"saved as {neutralise(name)}", markup=False)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Connect."""
        self.action_connect()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in any field connects, in the name saves."""
        self.action_save() if event.input.id == "name" else self.action_connect()

    def on_select_changed(self, event: Select.Changed) -> None:
        """Fill in a profile, or ask for what the token source needs."""
        if event.select.id == "profile" and event.value in self._profiles:
            target = self._profiles[str(event.value)]
            self.query_one("#url", Input).value = target.url
            self.query_one("#kind", Select).value = target.kind
            self.query_one("#value", Input).value = target.value
            self.query_one("#session", Input).value = target.session
            self._fill_options(target)
            self.query_one("#protocol", Select).value = target.protocol
        self._ask_for_value()

    def _winning(self, *names: str) -> str:
        """Return which of these options win over a field, to stand behind its name; empty if none is given."""
        found = [f"--{name}" for name in names if name in self._given]
        return f": {', '.join(found)} {'wins' if len(found) == 1 else 'win'}, being given" if found else ""

    def _input(self, id: str, hint: str, *names: str, password: bool = False) -> Input:
        """Return a field, closed where one of the options of these names is given."""
        wins = self._winning(*names).removeprefix(": ")
        return Input(placeholder=wins or hint, password=password, disabled=bool(wins), compact=True, id=id)

    def _value(self, id: str) -> str:
        """Return what stands in a field, or would."""
        return self._kept.get(id, self.query_one(f"#{id}", Input).value)

    def _fill_options(self, target: Target) -> None:
        values, rest = split_options(target.options)
        closed = self.query_one("#more", Collapsible).query("Input:disabled")
        self.query_one("#more", Collapsible).collapsed = not (values or target.user or closed)
        self.query_one("#options", Input).value = rest
        places = {f"option-{field.name}": values.get(field.name, "") for field in OPTION_FIELDS}
        for id, value in (places | {"user": target.user, "password": target.password}).items():
            place = self.query_one(f"#{id}", Input)
            if place.disabled:
                self._kept[id] = value
            else:
                place.value = value

    def _ask_for_value(self) -> None:
        kind = TokenKind(str(self.query_one("#kind", Select).value))
        field_ = self.query_one("#value", Input)
        field_.display = kind in _ASKED and self._given.isdisjoint(_WHO)
        field_.placeholder = _ASKED.get(kind, "")
        field_.password = kind is TokenKind.PASTED

    def _attempt(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except WsctlError as error:
            self._complain(str(error))
            return False
        self._complain("")
        return True

    def _complain(self, text: str) -> None:
        self.query_one("#form-problem", Static).update(Content(neutralise(text)))

"""Options come in groups, each defined once, and every command that connects takes all about its connection."""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from typing import Annotated, ClassVar

import pytest
import typer
from typer.core import TyperOption

from cli.grouped import GroupedCommand
from cli.main import COMMANDS, load_command
from cli.options.credentials import CredentialOptions
from cli.spreading import OptionGroup, spread

SECRET = "a secret for tests, 32 bytes or more"
MAX_PARAMETERS = 10
# What one name means to a server and another to its client, or what each load test measures in a way of its own.
OF_SEVERAL_MEANINGS = {
    *("audience", "handshake_timeout", "issuer", "origin", "out", "profile", "reconnect", "room"),
    *("session", "speed", "sub", "timeout", "type", "uds", "user"),
    *("connections", "drain", "duration", "rate", "sessions", "think"),
}
CONNECTS = ["connect", "replay", "voice say", "voice send"]
LOADS = [f"loadtest {name}" for name in load_command("loadtest").commands if name != "compare"]


def commands():
    for name in COMMANDS:
        command = load_command(name)
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
        else:
            yield from ((f"{name} {child}", below) for child, below in children.items())


each_command = pytest.mark.parametrize(
    ("name", "command"), [pytest.param(name, command, id=name) for name, command in commands()]
)


def groups(name: str) -> dict[str, list[TyperOption]]:
    command = dict(commands())[name]
    return command.groups(command.make_context(name, [], resilient_parsing=True))


@each_command
def test_no_function_of_a_command_takes_more_than_ten_parameters(name, command):
    function = inspect.unwrap(command.callback)
    assert function.__module__.startswith("cli."), "this is not what the command runs"
    parameters = inspect.signature(function).parameters
    assert "config" in parameters
    assert len(parameters) <= MAX_PARAMETERS


@each_command
def test_every_command_shows_its_options_in_groups(name, command):
    assert isinstance(command, GroupedCommand)
    shown = groups(name)
    loose = {option.name for option in shown["Other options" if len(shown) > 1 else "Options"]}
    assert loose - {"json"} == {"config", "help"}


def test_an_option_of_several_commands_is_defined_once():
    definitions = defaultdict(set)
    for _, command in commands():
        for param in command.params:
            if isinstance(param, TyperOption):
                shape = (
                    param.help,
                    param.metavar,
                    *param.opts,
                    str(param.default),
                    str(param.show_default),
                    str(param.multiple),
                )
                definitions[param.name].add(shape)
    assert {name for name, shapes in definitions.items() if len(shapes) > 1} == OF_SEVERAL_MEANINGS


@pytest.mark.parametrize("title", ["Target", "Who connects", "Handshake", "TLS", "Way to the server"])
def test_every_command_with_one_connection_takes_the_same_options_for_it(title):
    connect, *others = [[option.name for option in groups(name)[title]] for name in CONNECTS]
    assert connect
    assert others == [connect] * len(others)


def test_a_recording_is_played_back_with_all_options_of_a_connection():
    title = "Keeping the connection"
    assert [option.name for option in groups("replay")[title]] == [option.name for option in groups("connect")[title]]


@pytest.mark.parametrize("title", ["Handshake", "TLS"])
def test_load_tests_take_the_same_options_for_their_connections(title):
    connect = [option.name for option in groups("connect")[title]]
    assert [[option.name for option in groups(name)[title]] for name in LOADS] == [connect] * len(LOADS)


class Inner(OptionGroup, frozen=True, kw_only=True):
    depth: Annotated[int, typer.Option()] = 1


class Titled(Inner, frozen=True, kw_only=True):
    TITLE: ClassVar = "Titled"

    inner: Annotated[int, typer.Option()] = 2


class Outer(OptionGroup, frozen=True, kw_only=True):
    TITLE: ClassVar = "Outer"

    own: Annotated[int, typer.Option()] = 0
    nested: Inner = Inner()


def command_of(function):
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=GroupedCommand)(spread(function))
    return typer.main.get_command(app)


def test_a_group_in_a_group_has_its_own_title_or_that_of_what_holds_it():
    seen = []

    def outer(*, outer: Outer) -> None:
        seen.append(outer)

    def titled(*, titled: Titled) -> None:
        seen.append(titled)

    command, other = command_of(outer), command_of(titled)
    with command.make_context("x", ["--depth", "7"]) as ctx:
        assert {title: [option.name for option in some] for title, some in command.groups(ctx).items()} == {
            "Outer": ["own", "depth"],
            "Other options": ["help"],
        }
        command.invoke(ctx)
    assert seen == [Outer(own=0, nested=Inner(depth=7))]
    with other.make_context("y", []) as ctx:  # the same option, in another group there
        assert [option.name for option in other.groups(ctx)["Titled"]] == ["depth", "inner"]


@pytest.fixture
def talk(tmp_path):
    (tmp_path / "talk.jsonl").write_text('{"type":"message","timestamp":1,"data":"again","sentAtMs":4}\n')
    return "talk.jsonl"


def minted(wsctl):
    return wsctl("token", "jwt", "--sub", "ann", WSCTL_JWT_SECRET=SECRET).stdout.strip()


def test_a_replay_takes_a_saved_profile_a_unix_socket_and_a_header(serving, wsctl, talk, tmp_path):
    serving("--uds", "s.sock", "--guests", "off", "--session-join", "open", WSCTL_JWT_SECRET=SECRET)
    (tmp_path / "wsctl.toml").write_text('[profiles.room]\nurl = "ws://localhost/socket.io/"\nsession = "room-1"\n')
    where = ("--profile", "room", "--uds", "s.sock")
    assert wsctl("replay", talk, *where).returncode == 4
    done = wsctl("replay", talk, *where, "-H", f"Authorization: Bearer {minted(wsctl)}")
    assert done.returncode == 0, done.stderr
    greeting, message = map(json.loads, done.stdout.splitlines())
    assert (greeting["sessionId"], greeting["data"]["userId"]) == ("room-1", "ann")
    assert message["data"] == "again"


@pytest.mark.parametrize("command", ["connect", "replay talk.jsonl", "voice say --typed hi", "loadtest heartbeat"])
def test_a_header_and_an_origin_reach_the_server(serving, wsctl, talk, command):
    server = serving("--guests", "off", WSCTL_JWT_SECRET=SECRET)
    arguments = (*command.split(), server.url)
    refused = wsctl(*arguments, "-H", "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.secretpart")
    assert refused.returncode == 4, refused.stderr
    assert "secretpart" not in refused.stderr
    kept_out = wsctl(*arguments, "-H", f"Authorization: Bearer {minted(wsctl)}", "--origin", "https://evil.example")
    assert kept_out.returncode != 0
    assert "origin" in kept_out.stderr or "FORBIDDEN" in kept_out.stderr
    assert "no server" not in kept_out.stderr  # there is one


def test_a_load_test_is_who_its_header_says_and_no_report_has_it(serving, wsctl, tmp_path):
    server = serving("--guests", "off", WSCTL_JWT_SECRET=SECRET)
    token = minted(wsctl)
    quickly = ("--connections", "2", "--ramp", "10ms", "--duration", "300ms", "--drain", "200ms")
    done = wsctl(
        *("loadtest", "heartbeat", server.url, *quickly, "--out", "reports", "--json"),
        *("-H", f"Authorization: Bearer {token}", "--threshold", "failed_connections<=0"),
    )
    assert done.returncode in (0, 98), done.stderr  # a machine that is busy may be called one
    assert json.loads(done.stdout)["connections"]["opened"] == 2
    assert not [path.name for path in (tmp_path / "reports").iterdir() if token[-20:] in path.read_text()]


def test_no_repr_shows_an_option_since_some_are_secrets():
    assert repr(CredentialOptions(token=SECRET)) == "CredentialOptions(...)"
    assert not [group for group in OptionGroup.__subclasses__() if group.__repr__ is not OptionGroup.__repr__]

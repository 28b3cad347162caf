"""The documentation is complete and true: what the code knows the pages name, and what they name exists."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from types import ModuleType
from typing import Any

import msgspec
import pytest
from typer.core import TyperArgument, TyperOption

from cli.exits import ExitCode
from cli.main import COMMANDS, DEBUG_VARIABLE, load_command
from cli.profiles import read_keys, read_profiles
from cli.secrets import KEY_VARIABLES, SECRET_VARIABLE, WEBHOOK_VARIABLE
from cli.settings import SHARED_TABLES
from tests.pages import PAGES, ROOT, blocks
from wsclient import Client
from wsclient.tui.app import binding_ids
from wsclient.tui.commands import COMMANDS as COMMANDS_OF_THE_TERMINAL
from wscore.codes import CLOSES, ERRORS
from wscore.disconnects import DISCONNECTS
from wscore.envelope import Envelope
from wscore.messages import MESSAGES, RESERVED_TYPES
from wscore.units import format_size
from wsserver import App, Context, Hub
from wsserver.connections.handlerqueue import HIGH_WATER
from wsserver.engines.assembly import max_fragments
from wsserver.settings import Profile, ServerSettings, profile_defaults
from wsserver.telemetry.logs import DROPPED

HANG_S = 60
# Settings of the examples, and of all.
OF_APPS = {f"WSCTL_APP_{name}" for name in ("", "HISTORY_LIMIT", "API_KEY_FILE", "DATABASE", "TURN_S", "PAGE_LENGTH")}
OF_APPS |= {"WSCTL_APP_PUBLISH_KEY", "WSCTL_APP_WEB_PORT"}
# Options of the other programs that the pages show.
FOREIGN_OPTIONS = {
    *("--silent", "--fail", "--retry", "--retry-connrefused", "--retry-delay"),  # curl
    *("--unbuffered", "--raw-output", "--raw-input", "--compact-output", "--count"),  # jq and uniq
    *("--prefix",),  # npm
    *("--group", "--no-deps", "--upgrade"),  # pip
    *("--yes", "--load", "--now", "--unit"),  # apt-get, sysctl and systemd
    *("--build", "--detach", "--from-file"),  # docker and kubectl
    "--native",  # py-spy
    *("--strict",),  # mypy
    *("--seconds", "--warmup", "--repeat", "--only", "--servers", "--constants", "--by-chance"),  # make bench
    *("--members", "--brokers", "--wake-us"),  # python -m wsserver.scaling
}


@cache
def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def section(text: str, title: str) -> str:
    """Return what stands below a heading of level 2."""
    _, found, rest = text.partition(f"\n## {title}\n")
    assert found, f"there is no section {title!r}"
    return rest.partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    return [row.split("|")[1].strip() for row in text.splitlines() if row.startswith("| ")]


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with its full name."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
        else:
            for child, below in children.items():
                yield from walk(f"{name} {child}", below)

    for name in COMMANDS:
        yield from walk(f"wsctl {name}", load_command(name))


each_command = pytest.mark.parametrize(
    ("name", "command"), [pytest.param(*command, id=command[0]) for command in commands()]
)


def wire_fields(payload: type[msgspec.Struct]) -> Iterator[str]:
    """Yield a payload's field names as they are on the wire, nested ones included."""
    for field in msgspec.structs.fields(payload):
        yield field.encode_name
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from wire_fields(field.type)


@pytest.mark.parametrize("code", ERRORS)
def test_every_error_code_has_a_row_in_the_protocol(code):
    assert f"`{code}`" in first_cells(section(page("protocol.md"), "Error codes"))


@pytest.mark.parametrize("spec", ERRORS.values(), ids=lambda spec: spec.code.value)
def test_the_row_of_an_error_code_tells_what_the_table_in_the_code_does(spec):
    (row,) = [line for line in section(page("protocol.md"), "Error codes").splitlines() if f"| `{spec.code}` |" in line]
    *_, retryable, close, _ = (cell.strip() for cell in row.split("|"))
    assert retryable == ("yes" if spec.retryable else "no")
    named = {int(code) for code in re.findall(r"\b\d{4}\b", close)}
    assert named == {row.close_code for row in DISCONNECTS.values() if row.error is spec.code}


def test_every_disconnect_has_a_row_with_its_code_its_reason_and_the_error_before_it():
    lines = [line for line in section(page("protocol.md"), "Disconnects").splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in lines]
    assert rows == [
        [f"`{row.name}`", str(int(row.close_code)), row.reason, f"`{row.error}`" if row.error else ""]
        for row in DISCONNECTS.values()
    ]


@pytest.mark.parametrize("spec", CLOSES.values(), ids=lambda spec: str(spec.code.value))
def test_every_close_code_has_a_row_with_its_name_and_the_clients_action(spec):
    rows = [line for line in section(page("protocol.md"), "Close codes").splitlines() if line.startswith("| ")]
    (row,) = [row for row in rows if row.startswith(f"| {spec.code.value} |")]
    _, _, name, _, client, _ = (cell.strip() for cell in row.split("|"))
    assert name == spec.name
    assert client.startswith(spec.action.value)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_type_has_a_row_with_its_fields(name):
    text = section(page("protocol.md"), "Message types")
    assert f"`{name}`" in first_cells(text)
    payload = MESSAGES[name].payload
    for field in wire_fields(payload) if payload is not None else ():
        assert re.search(rf"\b{field}\b", text), f"{name}: {field}"


@pytest.mark.parametrize("field", [field.encode_name for field in msgspec.structs.fields(Envelope)])
def test_every_field_of_the_envelope_has_a_row(field):
    assert f"`{field}`" in first_cells(section(page("protocol.md"), "The envelope"))


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_has_a_section(name):
    assert f"    {name} " in section(page("cli.md"), name)


def option_row(name: str, option: TyperOption) -> list[str]:
    """Return the cells of an option's row: spellings, variable, default, meaning."""
    rows = [row.split("|")[1:-1] for row in section(page("cli.md"), name).splitlines() if row.startswith("| `-")]
    found = [row for row in rows if f"`{max(option.opts, key=len)}`" in row[0]]
    assert len(found) == 1, option.opts
    return [cell.strip() for cell in found[0]]


@each_command
def test_every_option_has_a_row_with_its_spellings_its_variable_and_its_default(name, command):
    for option in command.params:
        if not isinstance(option, TyperOption) or option.name == "help":
            continue
        spellings, variable, default, meaning = option_row(name, option)
        assert all(f"`{spelling}`" in spellings for spelling in [*option.opts, *option.secondary_opts])
        assert variable == (f"`{option.envvar}`" if option.envvar else ""), option.opts
        if choices := getattr(option.type, "choices", ()):
            assert f"({' / '.join(choices)})" in meaning, option.opts
        default = default.replace("`", "")
        if isinstance(option.show_default, str):
            assert default == option.show_default, option.opts
        elif isinstance(option.default, bool):
            assert default == ("on" if option.default else "off"), option.opts
        else:
            assert default == str("" if option.default is None else option.default), option.opts
        assert meaning, option.opts


@each_command
def test_the_rows_of_a_command_are_its_options_by_group_in_the_order_of_help(name, command):
    cells = [cell for cell in first_cells(section(page("cli.md"), name)) if cell.startswith(("`-", "**"))]
    titled = command.groups(command.make_context(name, [], resilient_parsing=True))
    expected = []
    for title, options in titled.items():
        expected += [f"**{title}**"] if len(titled) > 1 else []
        expected += [max(option.opts, key=len) for option in options if option.name != "help"]
    found = [cell if "**" in cell else re.search(r"`(--[a-z0-9-]+)`", cell)[1] for cell in cells]
    assert found == expected


def test_the_usage_line_of_a_command_names_its_arguments():
    for name, command in commands():
        for argument in command.params:
            if isinstance(argument, TyperArgument):
                assert argument.metavar
                assert argument.metavar in section(page("cli.md"), name).strip().splitlines()[0]


def test_no_section_documents_an_option_that_does_not_exist():
    for name, command in commands():
        known = {
            spelling
            for option in command.params
            if isinstance(option, TyperOption)
            for spelling in [*option.opts, *option.secondary_opts]
        }
        rows = [cell for cell in first_cells(section(page("cli.md"), name)) if cell.startswith("`-")]
        documented = {spelling for cell in rows for spelling in re.findall(r"`(-[^`]+)`", cell)}
        assert documented <= known, name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_names_an_option_or_a_variable_that_does_not_exist(path):
    parameters = [parameter for _, command in commands() for parameter in command.params]
    options = {spelling for parameter in parameters for spelling in [*parameter.opts, *parameter.secondary_opts]} | {
        "--help",
        "--version",
    }
    variables = {parameter.envvar for parameter in parameters if parameter.envvar}
    variables |= {SECRET_VARIABLE, WEBHOOK_VARIABLE, DEBUG_VARIABLE, *KEY_VARIABLES.values()}
    text = path.read_text("utf-8")
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+\b", text)) <= options | FOREIGN_OPTIONS
    assert set(re.findall(r"\bWSCTL_[A-Z_]+\b", text)) <= variables | {"WSCTL_OPTION_NAME"} | OF_APPS


def test_the_example_of_wsctl_toml_has_only_tables_and_keys_that_exist():
    import tomllib

    known = {name: {max(param.opts, key=len).lstrip("-") for param in command.params} for name, command in commands()}
    example, shared = blocks(ROOT / "docs" / "cli.md", "toml")
    tables = tomllib.loads(example)
    tables |= {f"token {name}": table for name, table in tables.pop("token").items()}
    for name, table in tables.items():
        assert set(table) <= known[f"wsctl {name}"]
    assert set(tomllib.loads(shared)) == set(SHARED_TABLES)


def test_the_tables_of_wsctl_toml_that_belong_to_no_command_can_be_read(tmp_path):
    pages = (("cli.md", 1), ("terminal.md", 0))
    for name, number in pages:
        path = tmp_path / name
        path.write_text(list(blocks(ROOT / "docs" / name, "toml"))[number])
        assert set(read_keys(path)) <= binding_ids()
        assert all(profile.url.startswith("wss:") for profile in read_profiles(path).values())


def test_every_action_of_the_terminal_client_has_a_row_with_its_keys():
    rows = {
        tuple(cell.strip() for cell in row.split("|")[1:4]) for row in page("terminal.md").splitlines() if "|" in row
    }
    for command in COMMANDS_OF_THE_TERMINAL:
        keys = ", ".join(f"`{key}`" for key in command.keys.replace("slash", "/").split(","))
        assert (keys, f"`{command.id}`", command.help) in rows


def test_every_log_event_has_a_row_and_every_row_an_event():
    call = re.compile(r"""\.(?:debug|info|warning|error|failure)\(\s*"([a-z]+\.[a-z_]+)\"""")
    sources = [*(ROOT / "wsserver").rglob("*.py"), *(ROOT / "cli").glob("*.py")]
    events = {event for path in sources for event in call.findall(path.read_text("utf-8"))}
    assert {cell.strip("`") for cell in first_cells(section(page("cli.md"), "Logs")) if "`" in cell} == events | {
        DROPPED
    }


def test_the_profiles_and_limits_are_those_of_the_code():
    for text in (section(page("cli.md"), "wsctl serve"), section(page("protocol.md"), "Limits")):
        rows = {
            row.split("|")[1].partition(",")[0].strip(): row.split("|")[2:4] for row in text.splitlines() if "|" in row
        }
        for profile, column in ((Profile.DEV, 0), (Profile.PROD, 1)):
            chosen = profile_defaults(profile, has_secret=True)
            cell = {title: cells[column].strip() for title, cells in rows.items() if len(cells) > column}
            size = cell.get("largest message") or cell["one message"]
            assert size.replace(" ", "") == format_size(chosen.max_message_bytes)
            if (fragments := cell.get("fragments of one message")) is not None:
                assert fragments == str(max_fragments(chosen.max_message_bytes))
            per_ip = chosen.max_connections_per_ip
            assert (cell["connections from one address"] == str(per_ip)) == (per_ip is not None)
            pending = cell["pending ones from one address"]
            assert (pending == str(chosen.max_pending_per_ip)) == (chosen.max_pending_per_ip is not None)
            connects, cell_of_it = chosen.connects, cell["new connections a second from one address"]
            assert (
                f"{connects.per_second:g}, at most {connects.burst:g}" in cell_of_it if connects else "no" in cell_of_it
            )
            rate = chosen.messages
            assert f"{rate.per_second:g}, at most {rate.burst:g}" in cell["messages a second"] if rate else True
            assert ("no" in cell["bytes a second"]) == (chosen.octets is None)


def test_every_exit_code_has_a_row():
    assert [cell for cell in first_cells(section(page("cli.md"), "Exit codes")) if cell.isdecimal()] == [
        str(code.value) for code in ExitCode
    ]


def run_block(code: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Run an example as a module of its own, which it must be to have its annotations resolved."""
    module = ModuleType("example_of_the_docs")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, module.__name__, "exec"), module.__dict__)
    return module


PYTHON_BLOCKS = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in (ROOT / "README.md", ROOT / "docs" / "apps.md")
    for number, block in enumerate(blocks(path, "python"))
]


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_every_python_example_runs_and_what_it_calls_app_is_one(block, monkeypatch):
    chat = run_block(blocks(ROOT / "docs" / "apps.md", "python")[0], monkeypatch)
    monkeypatch.setitem(sys.modules, "chat", chat)  # which the tests of the page import
    app = vars(run_block(block, monkeypatch)).get("app")
    assert app is None or isinstance(app, App)


async def test_the_chat_of_the_apps_page_chats(start_server, monkeypatch):
    example = blocks(ROOT / "docs" / "apps.md", "python")[0]
    server = await start_server(run_block(example, monkeypatch).app)
    async with Client(server.url, session_id="room") as ann, Client(server.url, session_id="room") as bob:
        await ann.send("chat.send", {"text": "hello"})
        message = await bob.expect("chat.message", dict, timeout_s=HANG_S)
        assert message == {"text": "hello", "from": ann.session.user_id}
        await ann.receive("chat.sent", timeout_s=HANG_S)
        await ann.send("chat.send", {"text": " "})
        error = await ann.expect("error", dict, timeout_s=HANG_S)
        assert (error["code"], error["message"]) == ("INVALID_MESSAGE", "Say something.")
        await ann.close()
        assert await bob.expect("chat.left", dict, timeout_s=HANG_S) == {"who": message["from"]}


def test_every_member_that_the_apps_page_calls_exists():
    for name, owner in (("ctx", Context), ("hub", Hub), ("app", App)):
        members = set(re.findall(rf"\b{name}\.(\w+)", page("apps.md")))
        assert members, name
        assert not [member for member in members if not hasattr(owner, member)]


def test_every_public_member_of_the_context_and_the_hub_is_on_the_apps_page():
    internal = {"forward"}  # of the hub, for the server's own rooms
    for name, members in (("ctx", set(dir(Context))), ("hub", set(dir(Hub)) - internal)):
        for member in members:
            if not member.startswith("_"):
                assert f"`{name}.{member}" in page("apps.md"), member


def test_the_apps_page_names_the_reserved_types_and_the_high_water_mark():
    text = section(page("apps.md"), "Handlers")
    assert all(f"`{kind}`" in text for kind in RESERVED_TYPES)
    assert f"When {HIGH_WATER} messages" in page("apps.md")


def test_the_settings_without_an_option_are_fields_of_the_settings():
    names = {"outbound", "close_timeout_ms"}
    assert names <= {field.name for field in fields(ServerSettings)}
    assert all(f"`{name}`" in page("apps.md") for name in names)


def test_every_json_example_of_the_protocol_is_a_line_of_valid_json():
    for block in blocks(ROOT / "docs" / "protocol.md", "json"):
        for line in block.splitlines():
            example = json.loads(line)
            assert {"type", "timestamp"} <= set(example)
            spec = MESSAGES.get(example["type"])
            if spec is not None and spec.payload is not None:
                msgspec.convert(example["data"], spec.payload)

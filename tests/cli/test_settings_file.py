"""`wsctl.toml` and the environment: what they set, and that a mistake in them is never passed over in silence."""

from __future__ import annotations

import json

import pytest

from cli.main import COMMANDS, DEBUG_VARIABLE, load_command
from cli.secrets import KEY_VARIABLES, SECRET_VARIABLE, WEBHOOK_VARIABLE
from cli.variables import ENV_PREFIX, KNOWN

SECRET = "a secret for tests, 32 bytes or more"


def minted(wsctl, *arguments, **variables):
    result = wsctl("token", "jwt", "--json", *arguments, WSCTL_JWT_SECRET=SECRET, **variables)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["claims"]


def lifetime_s(claims):
    return claims["exp"] - claims["iat"]


def test_flag_beats_environment_beats_file_beats_default(wsctl, tmp_path):
    assert lifetime_s(minted(wsctl, "--sub", "a")) == 3600
    (tmp_path / "wsctl.toml").write_text('[token.jwt]\nsub = "file"\nttl = "2h"\n')
    assert (minted(wsctl)["sub"], lifetime_s(minted(wsctl))) == ("file", 7200)
    assert lifetime_s(minted(wsctl, WSCTL_TTL="3h")) == 10800
    assert lifetime_s(minted(wsctl, "--ttl", "4h", WSCTL_TTL="3h")) == 14400


def test_a_repeatable_option_takes_a_list(wsctl, tmp_path):
    (tmp_path / "wsctl.toml").write_text('[token.jwt]\nsub = "a"\nclaim = ["level=3", "name=zoë"]\n')
    claims = minted(wsctl)
    assert (claims["level"], claims["name"]) == (3, "zoë")


def test_a_switch_takes_true(wsctl, tmp_path):
    (tmp_path / "wsctl.toml").write_text("[token.guest]\njson = true\n")
    assert json.loads(wsctl("token", "guest").stdout)["signed"] is False


def test_a_named_file_is_read_in_place_of_the_one_in_the_directory(wsctl, tmp_path):
    (tmp_path / "wsctl.toml").write_text('[token.jwt]\nsub = "near"\n')
    (tmp_path / "other.toml").write_text('[token.jwt]\nsub = "named"\n')
    assert minted(wsctl, "--config", "other.toml")["sub"] == "named"


def test_the_tables_of_other_commands_are_left_alone(wsctl, tmp_path):
    (tmp_path / "wsctl.toml").write_text('[serve]\nport = 9000\n[connect]\nraw = true\n[token.jwt]\nttl = "2h"\n')
    assert wsctl("token", "guest").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "text", "expected"),
    [
        (["token", "guest"], "[tokn.guest]", "wsctl.toml: tokn: there is no such command; did you mean 'token'?"),
        (["token", "guest"], "[token.gest]", "wsctl.toml: token.gest: there is no such command; did you mean 'guest'?"),
        (["token", "guest"], "[token]\njson = true", "wsctl.toml: token.json: there is no such command; tables are ["),
        (["explain"], "port = 9000", "wsctl.toml: port: there is no such command; tables are [serve], [connect]"),
        (["token", "guest"], "token = 3", "wsctl.toml: token: is not a table; write it as [token.guest]"),
        (["explain"], "explain = 3", "wsctl.toml: explain: is not a table; write it as [explain]"),
        (["serve"], "[serve]\nprot = 1", "wsctl.toml: [serve] prot: there is no such option; did you mean 'port'?"),
        (["explain"], "[explain]\nzzz = 1", "[explain] zzz: there is no such option; `wsctl explain --help` lists"),
        (["serve"], "[serve]\nheartbeat-interval = 25", "[serve] heartbeat-interval: has no unit; write it as text, "),
        (
            ["serve"],
            "[serve]\nmax-message-size = 4096",
            "[serve] max-message-size: has no unit; write it as text, such ",
        ),
        (
            ["serve"],
            '[serve]\nbroker = "http://a"',
            "wsctl.toml: [serve] broker: is no URL of a Redis",
        ),  # a text stands for a list
        (["serve"], "[serve]\norigin = true", '[serve] origin: is no text and no list of texts; write it as ["'),
        (["serve"], "[serve]\norigin = [1]", "[serve] origin: is no text and no list of texts"),
        (["serve"], '[serve]\nhost = ["a"]', "[serve] host: is not a single value"),
        (["serve"], "[serve]\nport = {a = 1}", "[serve] port: is not a single value"),
        (["serve"], "[serve]\nport = 1.5", "wsctl.toml: [serve] port: is not a whole number"),
        (["serve"], "[serve]\nmax-connections = 1e3", "[serve] max-connections: is not a whole number"),
        (["serve"], "[serve]\nrate-limit = nan", "[serve] rate-limit: is not a number"),
        (["serve"], "[serve]\nport = 2020-01-01", "[serve] port: is not a whole number"),
        (["serve"], "[serve]\nhost = 2020-01-01", "[serve] host: is not text; put it between quotation marks"),
        (["serve"], "[serve]\nguests = 1", "[serve] guests: is not text; put it between"),
        (["serve"], "[serve]\ntls-cert = 1", "[serve] tls-cert: is not text; put it between"),
        (["serve"], "[serve]\napp = true", "[serve] app: is neither text nor a number"),
        (["serve"], "[serve]\nport = true", "[serve] port: is neither text nor a number"),
        (["serve"], '[serve]\ncompression = "no"', "[serve] compression: is not a switch; write it as true or false"),
        (["serve"], "[serve", "wsctl.toml: is not valid TOML: "),
        (["serve"], "[serve]\nport = 1\nport = 2", "line 3"),
        (["serve"], f"port = {'[' * 5_000}", "wsctl.toml: is nested too deeply"),
        (["serve"], "\ufeff[serve]\nprot = 1", "wsctl.toml: [serve] prot: there is no such option"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_its_place_and_exit_2(wsctl, tmp_path, arguments, text, expected):
    (tmp_path / "wsctl.toml").write_text(text + "\n")
    result = wsctl(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_named_file_that_is_missing_is_refused(wsctl):
    result = wsctl("explain", "--config", "nowhere.toml")
    assert (result.returncode, result.stderr) == (2, "wsctl: --config: nowhere.toml: No such file or directory\n")


@pytest.mark.parametrize(
    ("claim", "expected"),
    [("iat=1", "iat is always the time of minting; leave it out"), ("scope=admin", "use --scope")],
)
def test_a_claim_that_is_set_elsewhere_is_refused(wsctl, claim, expected):
    result = wsctl("token", "jwt", "--sub", "a", "--claim", claim, WSCTL_JWT_SECRET=SECRET)
    assert result.returncode == 2
    assert expected in result.stderr


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "[" * 20_000, "{", "yes"])
def test_a_claim_that_is_no_json_is_text(wsctl, value):
    assert minted(wsctl, "--sub", "a", "--claim", f"x={value}")["x"] == value


# Values of the right kind that are refused: by the argument parser, by what reads them, by the settings, and late.
REFUSED = [
    ("serve", "port", "70000", "70000 is not in the range"),
    ("serve", "port", "-1", "-1 is not in the range"),
    ("serve", "port", "8x", "'8x' is not a whole number\n"),
    ("serve", "rate-limit", "fast", "'fast' is not a number\n"),
    ("serve", "guests", "some", "'some' is not one of"),
    ("serve", "heartbeat-interval", "25 parsecs", "'25 parsecs': a duration is"),
    ("serve", "heartbeat-timeout", "1s", "must be longer than --heartbeat-interval"),
    ("serve", "tls-cert", "none.pem", "a certificate needs its key"),
    ("serve", "jwt-secret-file", "none", "none: No such file or directory"),
    ("serve", "app", "nowhere:app", "there is no module 'nowhere'"),
    ("serve", "app", "nowhere", "'nowhere' is not MODULE:NAME"),
    ("connect", "url", "http://127.0.0.1/", "'http://127.0.0.1/' is not a ws:// or wss:// URL"),
    ("connect", "filter", "type:", ""),
    ("connect", "timeout", "soon", "'soon': a duration is"),
    ("loadtest.heartbeat", "url", "nowhere", "'nowhere' is not a ws:// or wss:// URL"),
    ("explain", "code", "9999x", "9999x: is no known code, disconnect or message type"),
    ("connect", "open", "none.jsonl", "none.jsonl: No such file"),
]


@pytest.mark.parametrize(("table", "key", "value", "problem"), REFUSED)
@pytest.mark.parametrize("source", ["file", "environment"])
def test_a_value_that_is_refused_is_named_by_where_it_stands(wsctl, tmp_path, table, key, value, problem, source):
    place = f"wsctl.toml: [{table}] {key}"
    variables = {}
    if source == "file":
        text = value if value.lstrip("-").isdigit() else json.dumps(value)
        (tmp_path / "wsctl.toml").write_text(f"[{table}]\n{key} = {text}\n")
    else:
        place = f"WSCTL_{key.upper().replace('-', '_')}"
        variables[place] = value
    result = wsctl(*table.split("."), **variables)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"wsctl: {place}: {problem}")
    assert result.stderr.count("\n") == 1


def test_a_flag_that_is_refused_is_named_as_one_whatever_the_environment_says(wsctl, tmp_path):
    (tmp_path / "wsctl.toml").write_text("[serve]\nport = 80\n")
    result = wsctl("serve", "--port", "x", WSCTL_PORT="81")
    assert result.returncode == 2
    assert result.stderr.startswith("wsctl: Invalid value for '--port': 'x' is not a whole number; see wsctl serve")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_no_number_is_not_finite(wsctl, value):
    result = wsctl("serve", "--rate-limit", value)
    assert result.returncode == 2
    assert result.stderr.startswith(f"wsctl: Invalid value for '--rate-limit': {value} is not a finite number")


def test_an_option_with_a_value_keeps_it_in_the_error(wsctl, tmp_path):
    (tmp_path / "wsctl.toml").write_text('[serve]\nvoice = true\nresponder = "http"\n')
    result = wsctl("serve")
    assert (result.returncode, result.stdout) == (2, "")
    assert "wsctl: wsctl.toml: [serve] responder: --responder http: has no server" in result.stderr


def test_arguments_come_from_the_environment_and_the_file_too(wsctl, tmp_path):
    (tmp_path / "wsctl.toml").write_text('[connect]\nurl = "ws://127.0.0.1:1/"\n')
    assert "cannot connect to ws://127.0.0.1:1/" in wsctl("connect", "--count", "1").stderr
    variables = {"WSCTL_URL": "ws://127.0.0.1:2/"}
    assert "cannot connect to ws://127.0.0.1:2/" in wsctl("connect", "--count", "1", **variables).stderr
    given = wsctl("connect", "--count", "1", "ws://127.0.0.1:3/", **variables)
    assert "cannot connect to ws://127.0.0.1:3/" in given.stderr


def test_an_app_of_the_file_runs_and_flags_win_over_it(wsctl, serving, tmp_path):
    (tmp_path / "chat.py").write_text(
        "from wsserver import App\napp = App()\n@app.on('hi')\ndef hi(ctx): ctx.reply('ho')\n"
    )
    (tmp_path / "wsctl.toml").write_text('[serve]\napp = "chat:app"\n')
    url = serving().url
    done = wsctl("connect", url, "--send", '{"type":"hi"}', "--expect", "ho", "--timeout", "20s")
    assert done.returncode == 0, done.stderr
    refused = wsctl("serve", "nowhere:app")
    assert "wsctl: APP: there is no module 'nowhere'" in refused.stderr
    voice = wsctl("serve", "--voice", "--grammar", "none.gram")
    assert "--grammar: cannot read" in voice.stderr  # so --voice is no contradiction to the file's app


@pytest.mark.parametrize(
    ("command", "table", "flags", "expected"),
    [
        ("connect", 'url = "ws://127.0.0.1:1/"', ("--profile", "there", "--count", "1"), "ws://127.0.0.1:2/"),
        ("connect", 'profile = "there"', ("--count", "1", "ws://127.0.0.1:1/"), "ws://127.0.0.1:1/"),
    ],
)
def test_what_a_flag_takes_the_place_of_is_dropped(wsctl, tmp_path, command, table, flags, expected):
    profiles = '[profiles.there]\nurl = "ws://127.0.0.1:2/"\n'
    (tmp_path / "wsctl.toml").write_text(f"[{command}]\n{table}\n{profiles}")
    assert f"cannot connect to {expected}" in wsctl(command, *flags).stderr


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WSCTL_PROT", "WSCTL_PORT"),
        ("WSCTL_HEARTBEAT_INTERVALL", "WSCTL_HEARTBEAT_INTERVAL"),
        ("WSCTL_port", "WSCTL_PORT"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_one_that_is_meant(wsctl, name, meant):
    result = wsctl("explain", "4001", **{name: "1"})
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"wsctl: {name}: there is no such setting; did you mean {meant}?\n"


def test_a_variable_that_is_like_none_is_told_and_the_command_runs(wsctl):
    kubernetes = {"WSCTL_SERVICE_HOST": "10.0.0.1", "WSCTL_PORT_80_TCP_ADDR": "10.0.0.1"}
    result = wsctl("explain", "4001", **kubernetes)
    assert result.returncode == 0
    assert result.stderr == "WSCTL_PORT_80_TCP_ADDR, WSCTL_SERVICE_HOST: no setting of wsctl, so it does nothing here\n"


def test_variables_of_other_commands_and_those_without_an_option_are_known(wsctl):
    others = {
        "WSCTL_PORT": "1",
        "WSCTL_THRESHOLD": "x",
        "WSCTL_ASR_KEY": "k",
        "WSCTL_JWT_SECRET": SECRET,
        "WSCTL_URL": "x",
    }
    result = wsctl("explain", "4001", **others)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_names_of_all_variables_are_listed():
    found = {DEBUG_VARIABLE, SECRET_VARIABLE, WEBHOOK_VARIABLE, *KEY_VARIABLES.values()}

    def walk(command) -> None:
        found.update(param.envvar for param in command.params if param.envvar)
        for child in getattr(command, "commands", {}).values():
            walk(child)

    for name in COMMANDS:
        walk(load_command(name))
    assert {f"{ENV_PREFIX}{name}" for name in KNOWN} == found, "cli/variables.py has the list"


def test_the_settings_file_can_be_named_by_a_variable(wsctl, tmp_path):
    (tmp_path / "other.toml").write_text("[explain]\nzzz = 1\n")
    result = wsctl("explain", "4001", WSCTL_CONFIG="other.toml")
    assert "wsctl: other.toml: [explain] zzz: there is no such option" in result.stderr

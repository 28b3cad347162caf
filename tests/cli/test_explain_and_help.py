"""`wsctl explain` and the help of every command at 80 columns."""

from __future__ import annotations

import json

import pytest

from cli.main import COMMANDS
from wscore.codes import CLOSES, ERRORS
from wscore.disconnects import DISCONNECTS
from wscore.messages import MESSAGES


def test_a_close_code_is_explained_with_the_clients_action(wsctl):
    result = wsctl("explain", "4002")
    assert result.returncode == 0
    assert result.stdout.startswith("4002 connection timeout\n")
    assert "no sign of life" in result.stdout
    assert "reconnect" in result.stdout
    assert "disconnects  heartbeat-timeout\n" in result.stdout


def test_a_disconnect_is_explained_by_its_row(wsctl):
    slow = json.loads(wsctl("explain", "Slow-Consumer", "--json").stdout)
    assert (slow["code"], slow["close code"], slow["error before"]) == ("slow-consumer", "4003 slow consumer", "none")
    assert (slow["reason"], slow["client"]) == ("Outbound limit passed", "reconnect and resume")
    assert "did you mean slow-consumer?" in wsctl("explain", "slow-consumr").stderr


def test_an_error_code_is_found_in_any_case(wsctl):
    assert "may precede the disconnect token-expired (4001)" in wsctl("explain", "auth_expired").stdout
    forbidden = json.loads(wsctl("explain", "FORBIDDEN", "--json").stdout)
    assert forbidden["connection"] == (
        "may precede the disconnect host-refused (1008) or origin-refused (1008) or refused-by-app (1008)"
    )
    assert json.loads(wsctl("explain", "SLOW_CONSUMER", "--json").stdout)["connection"] == "stays open"


def test_a_message_type_shows_its_fields(wsctl):
    assert "sessionId, userId, isGuest, connectionId" in wsctl("explain", "session_created").stdout


def test_a_message_type_is_explained_by_its_row(wsctl):
    audio_end = wsctl("explain", "audio_end").stdout
    assert "The turn is over" in audio_end
    assert "everyone in the session" not in audio_end
    ping = json.loads(wsctl("explain", "ping", "--json").stdout)
    assert (ping["belongs to"], ping["answered by"]) == ("the server itself", "pong")


def test_unlisted_codes_are_explained_by_their_range(wsctl):
    assert "private use" in wsctl("explain", "4999").stdout
    assert "IANA" in wsctl("explain", "3000").stdout
    assert "Reserved" in wsctl("explain", "2000").stdout


@pytest.mark.parametrize(("code", "mend"), [("AUTH_EXPIRD", "did you mean AUTH_EXPIRED?"), ("99", "1000 to 4999")])
def test_an_unknown_code_is_refused_with_a_mend(wsctl, code, mend):
    result = wsctl("explain", code)
    assert result.returncode == 2
    assert mend in result.stderr


def test_without_a_code_everything_is_listed(wsctl):
    listed = {json.loads(line)["code"] for line in wsctl("explain", "--json").stdout.splitlines()}
    assert listed == {str(code.value) for code in CLOSES} | set(DISCONNECTS) | set(map(str, ERRORS)) | set(MESSAGES)
    assert not set(DISCONNECTS) & set(MESSAGES)


@pytest.mark.parametrize(
    "arguments", [[], *([name] for name in COMMANDS), ["token", "guest"], ["token", "jwt"], ["token", "inspect"]]
)
def test_help_fits_80_columns_and_names_every_option(wsctl, arguments):
    result = wsctl(*arguments, "--help")
    assert result.returncode == 0
    assert result.stderr == ""
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "..." not in result.stdout.replace("[ARGS]...", "")


def test_the_short_help_of_a_command_is_its_line_in_the_list(wsctl):
    listing = wsctl("--help").stdout
    for name, (_, text) in COMMANDS.items():
        assert text in listing
        assert wsctl(name, "--help").stdout.startswith(f"Usage: wsctl {name}")


def test_an_unknown_command_is_one_line_with_a_suggestion(wsctl):
    result = wsctl("serv")
    assert (result.returncode, result.stderr) == (
        2,
        "wsctl: there is no command 'serv'; did you mean 'serve'?; see wsctl --help\n",
    )


def test_version_is_one_line(wsctl):
    assert wsctl("--version").stdout.startswith("wsctl 0.")


def test_a_bare_wsctl_shows_its_help_and_exits_2(wsctl):
    result = wsctl()
    assert result.returncode == 2
    assert result.stdout.startswith("Usage: wsctl")


@pytest.mark.parametrize(
    ("command", "titles"),
    [
        (
            "serve",
            [
                *("Arguments", "Listen", "Who may connect", "Limits", "Recovery", "Heartbeat and time-outs", "TLS"),
                *(
                    "Behind a proxy",
                    "More than one process",
                    "Operations port",
                    "Webhooks",
                    "Development",
                    "Log",
                    "Voice",
                ),
            ],
        ),
        (
            "loadtest heartbeat",
            [
                *("Arguments", "Load", "Target", "Who connects", "Handshake", "TLS"),
                *(
                    "Protocol",
                    "Messages",
                    "Replies and lost connections",
                    "Verdict and reports",
                    "Processes and machines",
                ),
            ],
        ),
        (
            "connect",
            [
                *("Arguments", "Target", "Who connects", "Handshake", "TLS", "Way to the server"),
                *("Protocol", "Keeping the connection"),
                *("Lines to send", "When it ends", "What is shown and recorded", "Terminal"),
            ],
        ),
    ],
)
def test_help_shows_a_long_list_of_options_by_group(wsctl, command, titles):
    lines = wsctl(*command.split(), "--help").stdout.splitlines()
    assert [line[:-1] for line in lines if line.endswith(":") and not line.startswith(" ")] == [
        *titles,
        "Other options",
    ]
    assert max(map(len, lines)) <= 80

"""`wsctl.toml` and the environment: what they set, and that a mistake in them is never passed over in silence."""

from __future__ import annotations

import json

import pytest

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
        (["serve"], '[serve]\norigin = "https://a.example"', '[serve] origin: is not a list of texts; write it as ["'),
        (["serve"], "[serve]\norigin = [1]", "[serve] origin: is not a list of texts"),
        (["serve"], '[serve]\nhost = ["a"]', "[serve] host: is not a single value"),
        (["serve"], "[serve]\nport = {a = 1}", "[serve] port: is not a single value"),
        (["serve"], "[serve]\nport = true", "[serve] port: is neither text nor a number"),
        (["serve"], '[serve]\ncompression = "no"', "[serve] compression: is not a switch; write it as true or false"),
        (["serve"], "[serve", "wsctl.toml: is not valid TOML: "),
        (["serve"], "[serve]\nport = 1\nport = 2", "line 3"),
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

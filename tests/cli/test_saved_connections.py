"""The options of a connection in a saved profile, and written in the connect form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cli import terminal
from cli.options.connection import ConnectionOptions, TargetOptions
from cli.options.credentials import CredentialOptions
from cli.options.handshake import ClientTlsOptions, HandshakeOptions, RouteOptions
from cli.options.protocol import SAVED_FIELDS, ProtocolOptions
from cli.profiles import SavedProfile, read_profiles, save_profile
from cli.saved import DIAL_KINDS, read_options, with_saved, written
from wsclient import NoToken
from wsclient.tui.model.options import OPTION_FIELDS
from wsclient.tui.model.target import Target, TokenKind
from wscore.errors import ConfigError
from wscore.foreign import ProtocolName, ProtocolSettings

TALK = ("--send", "hi", "--expect", "message", "--timeout", "20s")


def test_a_profile_has_what_its_server_asks_for_and_a_flag_wins(wsctl, serving, make_certificate, tmp_path):
    made, other = make_certificate("127.0.0.1"), make_certificate("127.0.0.1")
    server = serving("--tls-cert", str(made.cert), "--tls-key", str(made.key))
    (tmp_path / "wsctl.toml").write_text(
        f'[profiles.there]\nurl = "{server.url}"\nca = "{made.cert}"\nheader = ["X-Trace: 17"]\nmax-size = "1MiB"\n'
    )
    done = wsctl("connect", "--profile", "there", "-v", *TALK)
    assert done.returncode == 0, done.stderr
    assert "> X-Trace: 17" in done.stderr.splitlines()
    wins = wsctl("connect", "--profile", "there", "--ca", str(other.cert), *TALK)
    assert (wins.returncode, "CERTIFICATE_VERIFY_FAILED" in wins.stderr) == (3, True)
    small = wsctl("connect", "--profile", "there", "--max-size", "16B", *TALK)
    assert (small.returncode != 0, "exceeds limit of 16 bytes" in small.stderr) == (True, True)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("insecure = 'yes'", "insecure: is not true or false"),
        ("header = 'X: y'", "header: is not a list of texts"),
        ("max-size = 5", "max-size: is not a size"),
        ("ping-interval = 'soon'", "ping-interval: 'soon'"),
        ("proxi = 'x'", "proxi: there is no such field"),
        ("user = 'ann:secret'", "user: is not the name of a user, without a password"),
    ],
)
def test_what_a_profile_cannot_have_is_named(wsctl, tmp_path, line, problem):
    (tmp_path / "wsctl.toml").write_text(f'[profiles.there]\nurl = "ws://127.0.0.1:1/"\n{line}\n')
    refused = wsctl("connect", "--profile", "there", *TALK)
    assert (refused.returncode, f"wsctl.toml: [profiles.there] {problem}" in refused.stderr) == (2, True)


def test_options_are_read_as_they_are_written_and_saved(tmp_path):
    text = "--header 'X-Trace: 1' -H 'X-Two: 2' --proxy=none --insecure --ping-interval 5s"
    dials = read_options(text)
    assert dials == {
        "header": ["X-Trace: 1", "X-Two: 2"],
        "proxy": "none",
        "insecure": True,
        "ping-interval": "5s",
    }
    assert read_options(written(dials)) == dials
    file = tmp_path / "wsctl.toml"
    save_profile(file, "there", SavedProfile("ws://h/", dials=dials))
    assert dict(read_profiles(file)["there"].dials) == dials


def test_what_a_server_speaks_is_written_in_the_form_and_saved(tmp_path):
    target = Target(
        "ws://h/", options='--on-open \'{"op":"login"}\' --type-key op --heartbeat-every 5s', protocol=ProtocolName.JSON
    )
    profile = terminal._profile(target)
    assert terminal._target(profile) == target
    assert ProtocolOptions().settings(profile.speaks) == ProtocolSettings(
        name=ProtocolName.JSON, on_open=('{"op":"login"}',), type_key="op", heartbeat_every_s=5
    )
    file = tmp_path / "wsctl.toml"
    save_profile(file, "there", profile)
    assert read_profiles(file)["there"] == profile
    save_profile(file, "there", terminal._profile(Target("ws://h/")))
    assert read_profiles(file)["there"].speaks == {}


def test_an_option_of_the_command_line_wins_over_what_a_profile_says_of_the_protocol():
    given = ProtocolOptions(protocol=ProtocolName.JSON, heartbeat_every=1500)
    merged = given.over({"protocol": "raw", "type-key": "op", "heartbeat-every": "9s"})
    assert merged == {"protocol": "json", "type-key": "op", "heartbeat-every": "1500ms"}
    assert ProtocolOptions().settings(merged).heartbeat_every_s == 1.5
    assert ProtocolOptions().over({"protocol": "raw"}) == {"protocol": "raw"}


@pytest.mark.parametrize("text", ["--user ann:secret", "--nothing x", "--proxy", "'", "proxy x", "--max-size much"])
def test_options_that_are_none_are_refused(text):
    with pytest.raises(ConfigError):
        read_options(text)


def test_a_password_is_dialled_and_never_saved(tmp_path):
    target = Target("ws://h/", options="--insecure", user="ann", password="secret")
    assert terminal._profile(target, target.password).dials["user"] == "ann:secret"
    file = tmp_path / "wsctl.toml"
    save_profile(file, "there", terminal._profile(target))
    assert "secret" not in file.read_text() + repr(target)
    assert terminal._target(read_profiles(file)["there"]) == replace(target, password="")
    with pytest.raises(ConfigError, match="there is no user"):
        terminal._profile(Target("ws://h/"), "secret")
    with pytest.raises(ConfigError, match="without a password") as caught:
        terminal._profile(Target("ws://h/", user="ann:secret"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("given", [{"user": "bob:x"}, {"user_file": Path("bob")}])
def test_a_user_that_is_given_wins_over_the_saved_one(given):
    group = HandshakeOptions(**given)
    assert with_saved(group, {"user": "ann"}) == with_saved(group, {"user-file": "ann"}) == group
    assert with_saved(HandshakeOptions(), {"user": "ann"}).user == "ann"


def test_a_profile_with_a_user_asks_for_the_password_where_somebody_is(wsctl, tmp_path):
    (tmp_path / "wsctl.toml").write_text('[profiles.there]\nurl = "ws://127.0.0.1:1/"\nuser = "ann"\n')
    refused = wsctl("connect", "--profile", "there", *TALK)
    assert (refused.returncode, "--user: has no password" in refused.stderr) == (2, True), refused.stderr


def test_a_user_without_a_password_is_asked_for_one_or_told_where_to_give_it(monkeypatch):
    target = Target("ws://h/", user="ann")
    with pytest.raises(ConfigError, match="there is none for ann; fill it in") as caught:
        terminal._profile(target, "")
    assert caught.value.setting == "password"
    assert terminal._profile(target).dials == {"user": "ann"}
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    asked = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "secret")
    for _ in range(2):
        assert HandshakeOptions(user="ann").headers() == (("Authorization", "Basic YW5uOnNlY3JldA=="),)
    assert asked == ["password of ann: "]
    assert terminal._profile(target, "").dials["user"] == "ann:secret"


def test_a_profile_without_a_token_is_saved_and_goes_without_one(tmp_path):
    file = tmp_path / "wsctl.toml"
    target = Target("ws://h/", TokenKind.NONE)
    save_profile(file, "there", terminal._profile(target))
    assert terminal._target(read_profiles(file)["there"]) == target
    options = ConnectionOptions()
    assert isinstance(options.connector().client(read_profiles(file)["there"])._token, NoToken)
    file.write_text('[profiles.there]\nurl = "ws://h/"\nno-token = "yes"\n')
    with pytest.raises(ConfigError, match="is not true or false"):
        read_profiles(file)


def test_options_are_given_whatever_gave_them(monkeypatch):
    options = ConnectionOptions(
        target=TargetOptions(profile="x", session="y", uds="/s"),
        who=CredentialOptions(no_token=True),
        handshake=HandshakeOptions(cookie=["a=1"]),
        trust=ClientTlsOptions(key=Path("k.pem")),
        route=RouteOptions(ping_interval=5),
    )
    assert options.given() == {"uds", "no-token", "cookie", "key", "ping-interval"}
    assert ConnectionOptions().given() == frozenset()


def test_whatever_describes_a_connection_can_be_saved_and_stands_in_the_form():
    groups = (HandshakeOptions, ClientTlsOptions, RouteOptions)
    options = {name.replace("_", "-") for group in groups for name in group.__struct_fields__}
    assert options == set(DIAL_KINDS)
    assert {name.replace("_", "-") for name in ProtocolOptions.__struct_fields__} == set(SAVED_FIELDS)
    assert {field.name for field in OPTION_FIELDS} < options

"""The options of a connection in a saved profile, and written in the connect form."""

from __future__ import annotations

import pytest

from cli.profiles import SavedProfile, read_profiles, save_profile
from cli.saved import read_options, written
from wscore.errors import ConfigError

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


@pytest.mark.parametrize("text", ["--nothing x", "--proxy", "'", "proxy x", "--max-size much"])
def test_options_that_are_none_are_refused(text):
    with pytest.raises(ConfigError):
        read_options(text)

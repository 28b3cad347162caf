"""A server warns of files with keys that others can read, and of no others."""

from __future__ import annotations

import inspect
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.options.ops import OpsOptions
from cli.options.tokens import SecretOptions
from cli.secretfiles import others_may_read, secret_files
from cli.serve import command

NO_SECRETS = {"config", "uds", "tls_cert", "jwt_public_key", "jwks_file", "gguf", "grammar", "whisper_model"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may look into, not in memory."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        (probe := place / "probe").touch(0o644)
        probe.chmod(0o644)
        if not others_may_read(probe):
            pytest.skip("/var/tmp is in memory here, or not for everybody")
        yield place


def written(file: Path, mode: int, text: str = "canary-of-32-characters-or-of-more") -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("mode", "is_open"), [(0o600, False), (0o640, False), (0o440, False), (0o644, True), (0o604, True), (0o444, True)]
)
def test_a_file_is_open_by_what_everybody_may_and_not_by_its_group(folder, mode, is_open):
    assert others_may_read(written(folder / "key", mode)) is is_open


def test_a_folder_on_the_way_that_is_closed_closes_it(folder):
    (inner := folder / "inner").mkdir(0o700)
    file = written(inner / "key", 0o644)
    assert not others_may_read(file)
    inner.chmod(0o711)
    assert others_may_read(file)


def test_a_link_is_as_open_as_what_it_leads_to(folder):
    (link := folder / "link").symlink_to(written(folder / "key", 0o600))
    assert not others_may_read(link)
    (folder / "key").chmod(0o644)
    assert others_may_read(link)
    assert not others_may_read(folder / "nothing")


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="no file system in memory")
def test_secrets_as_kubernetes_mounts_them_are_left_out():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        (place := Path(name)).chmod(0o755)
        (data := place / "..data").mkdir(0o755)
        written(data / "jwt.secret", 0o644)
        (link := place / "jwt.secret").symlink_to("..data/jwt.secret")
        assert not others_may_read(link)


def test_every_option_of_a_file_is_known_to_hold_a_secret_or_none(tmp_path):
    options = inspect.signature(command, eval_str=True).parameters.values()
    files = {option.name for option in options if "Path" in str(option.annotation)}
    secret = {name for name in files if name.endswith(("_secret_file", "_key_file", "_keys_file")) or name == "tls_key"}
    assert {"jwt_secret_file", "tls_key", "ops_key_file", "ops_keys_file", "webhook_secret_file"} <= secret
    assert files - secret <= NO_SECRETS
    file = tmp_path / "x"
    found = secret_files([SecretOptions(jwt_secret_file=file), OpsOptions(ops_keys_file=file)])
    assert [option for option, _ in found] == ["--jwt-secret-file", "--ops-keys-file"]


def test_a_server_says_so_once_and_serves(folder, start_wsctl):
    secret = written(folder / "jwt.secret", 0o644)
    keys = written(folder / "ops.key", 0o640)
    options = ("--jwt-secret-file", str(secret), "--ops-port", "0", "--ops-key-file", str(keys), "--log-format", "json")
    process = start_wsctl("serve", "--port", "0", *options)
    events = []
    for line in process.stderr:
        events.append(json.loads(line))
        if events[-1]["event"] == "server.listening":
            break
    (told,) = [event for event in events if event["event"] == "secret.readable"]
    assert (told["level"], told["option"], told["file"]) == ("warning", "--jwt-secret-file", str(secret))
    assert "canary" not in str(events)

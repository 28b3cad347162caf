"""The keys of the operations port: how they are written, whose one is, and that they are exchanged while it runs."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
from pathlib import Path

import pytest

from wscore.errors import ConfigError
from wsserver.operations.accesskeys import MAX_NAMED_KEYS, AccessKey, Right, named_keys
from wsserver.operations.keyring import KeyRing
from wsserver.telemetry.logs import EventLog

LONG = "0123456789abcdef"
DIGEST = hashlib.sha256(LONG.encode()).hexdigest()


def test_a_file_has_names_rights_and_keys_or_their_hashes():
    text = f"# who may what\n\nci write {LONG}\r\n  ops@team\tread   sha256:{DIGEST.upper()}1"[:-1]
    assert list(named_keys(text, "file")) == [
        AccessKey("ci", Right.WRITE, bytes.fromhex(DIGEST)),
        AccessKey("ops@team", Right.READ, bytes.fromhex(DIGEST)),
    ]
    assert DIGEST not in repr(list(named_keys(text, "file")))
    assert [key.digest.hex() for key in named_keys(f"ci read SHA256:{DIGEST}", "file")] == [DIGEST]


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("", "file", "holds no key"),
        ("# nothing\n", "file", "holds no key"),
        (f"ci {LONG}", "file, line 1", "is not a key with its name"),
        (f"\nci admin {LONG}", "file, line 2", "is not a key with its name"),
        (f"ci write {LONG} {LONG}", "file, line 1", "is not a key with its name"),
        (f"{'a' * 65} read {LONG}", "file, line 1", "the name is none"),
        (f"a=b read {LONG}", "file, line 1", "the name is none"),
        (f"\u202eab read {LONG}", "file, line 1", "the name is none"),
        (f"ops read {LONG}", "file, line 1", "ops is the name of the key of --ops-key-file"),
        ("ci read short", "file, line 1", "a key has 16 characters or more"),
        (f"ci read {LONG}é", "file, line 1", "the key is not plain ASCII"),
        (f"ci read sha256:{DIGEST[1:]}", "file, line 1", "is no SHA-256 in hex"),
        (f"ci read sha256:{DIGEST}\nx read SHA256:", "file, line 2", "is no SHA-256 in hex"),
        (
            "\n".join(f"k{n} read {LONG}{n}" for n in range(MAX_NAMED_KEYS + 1)),
            "file, line 1001",
            "more than 1000 keys",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_nothing_of_the_key(text, place, problem):
    with pytest.raises(ConfigError) as caught:
        list(named_keys(text, "file"))
    assert caught.value.setting == place
    assert problem in caught.value.problem
    assert not [word for word in (LONG, DIGEST[1:], "short") if word in str(caught.value)]


def ring(file: Path, now=lambda: 0.0) -> KeyRing:
    return KeyRing(lambda: named_keys(file.read_text(), "keys"), (file,), now)


def test_nobody_has_the_key_of_another(tmp_path):
    (file := tmp_path / "keys").write_text(f"ci write {LONG}\ngrafana read sha256:{DIGEST}\n")
    with pytest.raises(ConfigError, match="ci and grafana have the same one"):
        ring(file)


def test_all_keys_are_compared_whichever_fits(tmp_path, monkeypatch):
    (file := tmp_path / "keys").write_text("".join(f"k{number} read {LONG}{number}\n" for number in range(20)))
    keys, compared = ring(file), []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(1) or compare(a, b))
    for key, name in ((f"{LONG}0", "k0"), (f"{LONG}19", "k19"), (LONG, None), ("", None)):
        compared.clear()
        found = keys.whose(key.encode())
        assert (found and found.name, len(compared)) == (name, 20)


def test_files_are_read_again_once_they_change_and_a_broken_one_changes_nothing(tmp_path, caplog):
    caplog.set_level(logging.INFO, "wsctl")
    now_s = [0.0]
    (file := tmp_path / "keys").write_text(f"ci write {LONG}old\n")
    keys, log = ring(file, lambda: now_s[0]), EventLog()

    def names(*, at_once=False):
        keys.look(log, at_once=at_once)
        return [keys.whose(f"{LONG}{end}".encode()) is not None for end in ("old", "new")]

    def put(text):
        (draft := tmp_path / "draft").write_text(text)
        draft.replace(file)

    put(f"ci write {LONG}old\nci write {LONG}new\n")
    assert names() == [True, False]  # it was looked at this second
    now_s[0] += 1
    assert names() == [True, True]
    put(f"ci write {LONG}new\n")
    assert names(at_once=True) == [False, True]
    put("ci writ\n")
    for _ in range(3):
        now_s[0] += 1
        assert names() == [False, True]
    file.unlink()
    for _ in range(3):
        now_s[0] += 1
        assert names() == [False, True]
    put(f"ci write {LONG}old\n")
    now_s[0] += 1
    assert names() == [True, False]
    told = [(record.message, record.fields.get("problem")) for record in caplog.records]
    assert [event for event, _ in told] == [
        *("ops.keys_read", "ops.keys_read", "ops.keys_refused", "ops.keys_refused", "ops.keys_read")
    ]
    assert told[2][1].startswith("keys, line 1: is not a key with its name")
    assert told[3][1] == f"{file}: No such file or directory"


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_in_the_place_of_one_holds_nobody_up(tmp_path, caplog, put):
    now_s = [0.0]
    (file := tmp_path / "keys").write_text(f"ci write {LONG}old\n")
    keys = ring(file, lambda: now_s[0])
    file.unlink()
    put(file)
    for _ in range(3):
        now_s[0] += 1
        keys.look(EventLog())  # whoever opened the pipe would wait for its writer
    assert keys.whose(f"{LONG}old".encode()) is not None
    told = [(record.message, record.fields["problem"]) for record in caplog.records]
    assert told == [("ops.keys_refused", f"{file}: is no regular file")]

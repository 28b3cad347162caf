"""`wsctl serve` with the keys and claims of an identity provider."""

from __future__ import annotations

import json
import re
import signal
import time
from functools import cache
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

SECRET = "a secret for tests, 32 bytes or more"
HANG_S = 60


@cache
def private_key(name: str) -> Any:
    return ed25519.Ed25519PrivateKey.generate()


def write_jwks(file: Path, *names: str) -> None:
    to_jwk = jwt.get_algorithm_by_name("EdDSA").to_jwk
    public = [{**to_jwk(private_key(name).public_key(), as_dict=True), "kid": name, "use": "sig"} for name in names]
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps({"keys": [*public, {**public[0], "kid": "enc", "use": "enc"}]}))
    draft.rename(file)


def token(name: str, **claims: object) -> str:
    made = {"exp": int(time.time()) + 3600, "aud": ["account", "chat"], "sid": "c1b3f0e2-sso", **claims}
    return jwt.encode(made, private_key(name), "EdDSA", headers={"kid": name})


def test_keys_and_claims_of_an_identity_provider(serving, wsctl, tmp_path):
    write_jwks(tmp_path / "jwks.json", "a")
    server = serving(
        *("--profile", "prod", "--jwt-algorithm", "Ed25519", "--jwks-file", "jwks.json", "--audience", "chat"),
        *("--user-claim", "email", "--session-claim", "room", "--scope-claim", "roles"),
    )

    def connect(text: str, *arguments: str) -> Any:
        return wsctl(
            "connect", server.url, "--expect", "session_created", "--timeout", "20s", *arguments, WSCTL_TOKEN=text
        )

    for room in (None, "lobby"):
        for _ in range(2):  # nobody is locked out by the session of another
            result = connect(token("a", email=f"{room}@b.example", roles=["admin"], **({"room": room} if room else {})))
            greeting = json.loads(result.stdout)["data"]
            assert greeting["userId"] == f"{room}@b.example"
            assert greeting["sessionId"] == room or (room is None and greeting["sessionId"] != "c1b3f0e2-sso")
    refused = connect(token("b", email="a@b.example"))
    assert (refused.returncode, "not among the configured ones" in refused.stderr) == (4, True)
    write_jwks(tmp_path / "jwks.json", "b")
    assert connect(token("b", email="a@b.example")).returncode == 0
    assert connect(token("a", email="a@b.example")).returncode == 4
    assert connect(token("b", email="a@b.example", aud="account")).returncode == 4
    assert server.stop() == 0
    read = [json.loads(line) for line in server.lines if "jwks.read" in line]
    assert [(item["file"], item["keys"]) for item in read] == [("jwks.json", 1), ("jwks.json", 1)]


def test_a_public_key_beside_a_secret_is_named(wsctl, tmp_path):
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = private_key("a").public_key().public_bytes(serialization.Encoding.PEM, spki)
    (tmp_path / "public.pem").write_bytes(pem)
    write_jwks(tmp_path / "jwks.json", "a")
    for option, file in (("--jwt-public-key", "public.pem"), ("--jwks-file", "jwks.json")):
        for command in (("serve", "--port", "0"), ("token", "inspect", "x")):
            result = wsctl(*command, option, file, WSCTL_JWT_SECRET=SECRET)
            assert result.returncode == 2
            assert f"--jwt-algorithm: is not given, and {option} is; the secret would verify JWTs" in result.stderr
    checked = wsctl(
        "token",
        "inspect",
        token("a", sub="ann"),
        "--json",
        WSCTL_JWKS_FILE="jwks.json",
        WSCTL_AUDIENCE="chat",
        WSCTL_JWT_ALGORITHM="EdDSA",
        WSCTL_JWT_SECRET=SECRET,
    )
    assert json.loads(checked.stdout)["verdict"] == "valid"


@pytest.mark.parametrize(
    ("arguments", "said", "pasted"),
    [
        (
            ("--jwt-algorithm", "Ed25519", "--jwks-file", "jwks.json", "--audience", "chat", "--session-claim", "room"),
            "JWT Ed25519 (1 key of jwks.json) for chat (user sub, session room, scope scope)",
            r"connect --token-file alice\.jwt ws.*\n +alice\.jwt holds a token that whoever has the private key",
        ),
        (
            ("--jwt-secret-file", "jwt.secret", "--audience", "chat", "--user-claim", "email"),
            "JWT HS256 for chat (user email, session sid, scope scope)",
            r'"\$\(.+ token jwt --sub alice --audience chat --user-claim email --jwt-secret-file /.+/jwt\.secret\)"',
        ),
    ],
)
def test_start_up_says_which_tokens_are_good(start_wsctl, tmp_path, arguments, said, pasted):
    write_jwks(tmp_path / "jwks.json", "a")
    (tmp_path / "jwt.secret").write_text(SECRET)
    process = start_wsctl("serve", "--port", "0", "--profile", "prod", "--guests", "off", *arguments)
    text = ""
    while "Ctrl-C" not in text:
        line = process.stderr.readline()
        assert line, text
        text += line
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=HANG_S)
    assert said in text
    assert re.search(pasted, text)

"""`wsctl token`: what it mints a server accepts, and what it refuses it names."""

from __future__ import annotations

import base64
import json
import re
import time
import uuid

import pytest

from wscore.guest import GuestMode, GuestVerifier, mint_guest_token
from wscore.rooms import RoomGrant
from wscore.tokens import JwtKey, JwtVerifier, mint_jwt

SECRET = "a secret for tests, 32 bytes or more"
OTHER_SECRET = "another secret, 32 bytes or more too"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_guest_prints_one_token_and_nothing_else(wsctl):
    result = wsctl("token", "guest")
    assert result.returncode == 0
    assert result.stderr == ""
    assert re.fullmatch(r"guest_[0-9a-f-]{36}_\d{13}\n", result.stdout)
    assert GuestVerifier(GuestMode.UNSIGNED).verify(result.stdout.strip(), now_ms()).is_guest


def test_a_signed_guest_is_accepted_by_who_knows_the_secret(wsctl, tmp_path):
    (tmp_path / "jwt.secret").write_text(SECRET + "\n")
    result = wsctl("token", "guest", "--signed", "--json", "--jwt-secret-file", "jwt.secret")
    guest = json.loads(result.stdout)
    principal = GuestVerifier(GuestMode.SIGNED, secret=SECRET.encode()).verify(guest["token"], now_ms())
    assert principal.user_id == guest["userId"]
    assert guest["signed"] is True


def test_jwt_carries_its_claims(wsctl):
    result = wsctl(
        *("token", "jwt", "--sub", "alice", "--ttl", "2h", "--sid", "room", "--scope", "admin", "--jti", "t1"),
        *("--claim", "level=3", "--claim", "name=zoë", "--claim", 'tags=["a"]', "--room", "lobby", "--room", "team.*"),
        WSCTL_JWT_SECRET=SECRET,
    )
    assert result.returncode == 0, result.stderr
    principal = JwtVerifier(JwtKey(secret=SECRET.encode())).verify(result.stdout.strip(), now_ms())
    assert (principal.user_id, principal.session_id, principal.scopes) == ("alice", "room", {"admin"})
    assert principal.rooms == (RoomGrant("lobby"), RoomGrant("team.*"))
    assert principal.token_id == "t1"
    assert principal.issued_at_ms is not None
    assert 7000_000 < principal.expires_at_ms - now_ms() <= 7200_000
    claims = json.loads(wsctl("token", "inspect", "-", "--json", stdin=result.stdout).stdout)["claims"]
    assert (claims["level"], claims["name"], claims["tags"]) == (3, "zoë", ["a"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["jwt", "--sub", "a"], "JWT secret: none is set"),
        (["guest", "--signed"], "openssl rand -hex 32 > jwt.secret"),
        (["jwt"], "Missing option '--sub'"),
        (["jwt", "--sub", "a", "--claim", "exp=1"], "use --ttl"),
        (["jwt", "--sub", "a", "--claim", "jti=x"], "use --jti"),
        (["jwt", "--sub", "a", "--claim", 'rooms=["a"]'], "use --room"),
        (["jwt", "--sub", "a", "--room", "a*b"], "the * only at the end"),
        (["jwt", "--sub", "a", *["--room", "a"] * 65], "at most 64 patterns"),
        (["jwt", "--sub", "a", "--claim", "x"], "'x' is not KEY=VALUE"),
        (["jwt", "--sub", "a", "--ttl", "soon"], "such as 500ms or 25s"),
        (["jwt", "--sub", ""], "sub is not 1 to 256 characters"),
        (["jwt", "--sub", "a", "--ttl", "9999999d"], "before the year 10000"),
        (["mint"], "No such command 'mint'"),
        (["inspect", "-"], "TOKEN: is empty"),
    ],
)
def test_bad_usage_is_one_line_with_its_mend_and_exit_2(wsctl, arguments, expected):
    result = wsctl("token", *arguments)
    assert result.returncode == 2
    assert expected in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


SECRET_BYTES = bytes(range(200, 240))


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("base64", base64.b64encode(SECRET_BYTES)),
        ("base64", b"\xef\xbb\xbf" + base64.encodebytes(SECRET_BYTES).replace(b"\n", b"\r\n")),
        ("base64url", base64.urlsafe_b64encode(SECRET_BYTES).rstrip(b"=")),
        ("hex", SECRET_BYTES.hex().upper().encode() + b"\n"),
        ("raw", SECRET_BYTES),
    ],
)
def test_a_secret_may_be_written_in_other_ways(wsctl, tmp_path, encoding, written):
    (tmp_path / "jwt.secret").write_bytes(written)
    key = ("--jwt-secret-file", "jwt.secret", "--jwt-secret-encoding", encoding)
    token = wsctl("token", "jwt", "--sub", "alice", *key).stdout.strip()
    assert JwtVerifier(JwtKey(secret=SECRET_BYTES)).verify(token, now_ms()).user_id == "alice"
    assert re.search("verdict +valid", wsctl("token", "inspect", "-", *key, stdin=token).stdout)


def test_what_editors_add_to_a_secret_does_not_count(wsctl, tmp_path):
    (tmp_path / "jwt.secret").write_bytes(b"\xef\xbb\xbf" + SECRET.encode() + b"\r\n\r\n")
    for source in ({"WSCTL_JWT_SECRET_FILE": "jwt.secret"}, {"WSCTL_JWT_SECRET": f"\ufeff{SECRET}\r\n"}):
        token = wsctl("token", "jwt", "--sub", "alice", **source).stdout.strip()
        assert JwtVerifier(JwtKey(secret=SECRET.encode())).verify(token, now_ms()).user_id == "alice"


def test_other_claims_are_minted_and_inspected_as_the_server_reads_them(wsctl):
    names = {"WSCTL_USER_CLAIM": "email", "WSCTL_SESSION_CLAIM": "room", "WSCTL_JWT_SECRET": SECRET}
    minted = wsctl("token", "jwt", "--sub", "a@b.example", "--sid", "lobby", "--claim", "sid=sso", "--json", **names)
    made = json.loads(minted.stdout)
    assert {"email": "a@b.example", "room": "lobby", "sid": "sso"}.items() <= made["claims"].items()
    assert json.loads(wsctl("token", "inspect", made["token"], "--json", **names).stdout)["verdict"] == "valid"
    by_others = wsctl("token", "inspect", made["token"], "--json", WSCTL_JWT_SECRET=SECRET)
    assert json.loads(by_others.stdout)["reason"] == "The token lacks the required claim sub."
    for variables, problem in (
        ({"WSCTL_USER_CLAIM": "exp"}, "another meaning"),
        ({"WSCTL_SCOPE_CLAIM": "sid"}, "anoth"),
    ):
        assert problem in wsctl("token", "jwt", "--sub", "a", WSCTL_JWT_SECRET=SECRET, **variables).stderr


def test_without_a_key_the_audience_is_checked_all_the_same(wsctl):
    token = mint_jwt(SECRET.encode(), {"sub": "alice", "exp": now_ms() // 1000 + 60, "aud": "elsewhere"})
    assert json.loads(wsctl("token", "inspect", token, "--json").stdout)["rule"] == "jwt-audience"
    assert re.search("verdict +unverified", wsctl("token", "inspect", token, "--audience", "elsewhere").stdout)


def test_input_that_is_no_text_is_no_token(shell, tmp_path):
    (tmp_path / "input").write_bytes(b"\xff\xfe.e.y\n")
    result = shell("token inspect - --json < input")
    assert json.loads(result.stdout)["rule"] == "jwt-format"


def test_inspect_says_valid_until_when(wsctl):
    token = mint_jwt(SECRET.encode(), {"sub": "alice", "exp": now_ms() // 1000 + 7300})
    result = wsctl("token", "inspect", token, WSCTL_JWT_SECRET=SECRET)
    assert result.returncode == 0
    assert re.search(r"verdict +valid", result.stdout)
    assert "(in 2h)" in result.stdout


def test_inspect_without_a_key_says_that_nobody_checked_the_signature(wsctl):
    token = mint_jwt(SECRET.encode(), {"sub": "alice", "exp": now_ms() // 1000 + 60})
    result = wsctl("token", "inspect", token)
    assert result.returncode == 0
    assert re.search(r"verdict +unverified", result.stdout)
    assert "not checked: no key given" in result.stdout


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: mint_jwt(SECRET.encode(), {"sub": "a", "exp": 1_600_000_000}), "jwt-expired"),
        (lambda: mint_jwt(OTHER_SECRET.encode(), {"sub": "a", "exp": 4_000_000_000}), "jwt-signature"),
        (lambda: mint_jwt(SECRET.encode(), {"sub": "a"}), "jwt-claim-missing"),
        (lambda: mint_jwt(SECRET.encode(), {"sub": "a", "exp": 4_000_000_000, "aud": "else"}), "jwt-audience"),
        (lambda: "nonsense", "jwt-format"),
        (lambda: mint_guest_token(uuid.uuid4(), 1_600_000_000_000), "guest-expired"),
        (lambda: mint_guest_token(uuid.uuid4(), 4_000_000_000_000), "guest-future"),
        (lambda: mint_guest_token(uuid.uuid4(), now_ms(), OTHER_SECRET.encode()), "guest-signature"),
        (lambda: "guest_1_2", "guest-format"),
    ],
)
def test_inspect_names_the_rule_that_refuses_and_exits_4(wsctl, make, rule):
    token = make()
    arguments = ["--audience", "us"] if rule == "jwt-audience" else []
    result = wsctl("token", "inspect", "-", "--json", *arguments, stdin=token + "\n", WSCTL_JWT_SECRET=SECRET)
    assert result.returncode == 4
    report = json.loads(result.stdout)
    assert (report["verdict"], report["rule"]) == ("refused", rule)
    assert SECRET not in result.stdout + result.stderr
    assert token not in result.stdout


def test_inspect_keeps_a_hostile_token_from_the_terminal(wsctl):
    token = mint_jwt(SECRET.encode(), {"sub": "\x1b[31mred\u202e", "exp": 4_000_000_000})
    result = wsctl("token", "inspect", token, WSCTL_JWT_SECRET=SECRET)
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout

"""Secrets, tokens and headers that nothing can carry: one clear line names the option and shows none of the value."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

ROOT = Path(__file__).parents[2]
HANG_S = 60
CANARY = "canary-5f0c7d1e"
NOT_UTF8 = os.fsdecode(f"{CANARY}-".encode() + b"\xff" + b"x" * 32)
CONTROL = f"{CANARY}\x01{'x' * 32}"
SERVER = "ws://127.0.0.1:1/"
CONNECT = ("connect", SERVER)
LOADTEST = ("loadtest", "heartbeat", SERVER, "--connections", "1", "--duration", "1s")
VOICE = ("voice", "say", "hello", SERVER, "--typed")
JWT = ("token", "jwt", "--sub", "alice")


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run wsctl with arguments and variables of any bytes."""
    return forked.run([*arguments], timeout=HANG_S, cwd=cwd, env=forked.environment(**variables))


CASES: dict[str, tuple[tuple[str, ...], dict[str, str], str]] = {
    "a secret": (JWT, {"WSCTL_JWT_SECRET": NOT_UTF8}, "WSCTL_JWT_SECRET: is not text in UTF-8"),
    "a secret of serve": (("serve", "--port", "0"), {"WSCTL_JWT_SECRET": NOT_UTF8}, "WSCTL_JWT_SECRET: is not text"),
    "a secret with a line break": (JWT, {"WSCTL_JWT_SECRET": f"{CANARY}\n{'x' * 32}"}, "has a line break"),
    "a secret in quotes": (JWT, {"WSCTL_JWT_SECRET": f'"{CANARY}{"x" * 32}"'}, "WSCTL_JWT_SECRET: is in quotes"),
    "a secret with a space": (JWT, {"WSCTL_JWT_SECRET": f" {CANARY}{'x' * 32}"}, "begins or ends with a space"),
    "a secret that is no hex": (
        (*JWT, "--jwt-secret-encoding", "hex"),
        {"WSCTL_JWT_SECRET": f"{CANARY}{'x' * 32}"},
        "WSCTL_JWT_SECRET: is not hex; --jwt-secret-encoding says how",
    ),
    "an empty secret": (JWT, {"WSCTL_JWT_SECRET": ""}, "WSCTL_JWT_SECRET: is empty"),
    "an empty secret of serve": (("serve", "--port", "0"), {"WSCTL_JWT_SECRET": ""}, "WSCTL_JWT_SECRET: is empty"),
    "an empty secret file": (JWT, {"WSCTL_JWT_SECRET_FILE": ""}, "WSCTL_JWT_SECRET_FILE: is set but empty"),
    "an empty issuer": (("serve", "--port", "0"), {"WSCTL_ISSUER": ""}, "WSCTL_ISSUER: is set but empty"),
    "a token": (CONNECT, {"WSCTL_TOKEN": NOT_UTF8}, "WSCTL_TOKEN: holds what no token does"),
    "a token as argument": ((*CONNECT, "--token", NOT_UTF8), {}, "--token: holds what no token does"),
    "a token with a control character": ((*CONNECT, "--token", CONTROL), {}, "--token: holds what no token does"),
    "a token beyond ASCII": ((*CONNECT, "--token", f"{CANARY}é"), {}, "--token: holds what no token does"),
    "a token in a file": ((*CONNECT, "--token-file", "bad"), {}, "--token-file bad: holds what no token does"),
    "an empty token": (CONNECT, {"WSCTL_TOKEN": ""}, "WSCTL_TOKEN: is set but empty"),
    "an empty token as argument": ((*CONNECT, "--token", ""), {}, "--token: is empty"),
    "an empty token in a file": ((*CONNECT, "--token-file", "empty"), {}, "--token-file empty: is empty"),
    "an empty name of a file": (CONNECT, {"WSCTL_TOKEN_FILE": ""}, "WSCTL_TOKEN_FILE: is set but empty"),
    "an empty user": (CONNECT, {"WSCTL_SUB": ""}, "WSCTL_SUB: is set but empty"),
    "a token of a load test": (LOADTEST, {"WSCTL_TOKEN": NOT_UTF8}, "WSCTL_TOKEN: holds what no token does"),
    "an empty token of a load test": (LOADTEST, {"WSCTL_TOKEN": ""}, "WSCTL_TOKEN: is set but empty"),
    "an empty token file of a load test": ((*LOADTEST, "--token-file", "empty"), {}, "--token-file empty: is empty"),
    "an empty token of voice": (VOICE, {"WSCTL_TOKEN": ""}, "WSCTL_TOKEN: is set but empty"),
    "an empty token of replay": (("replay", "recording", SERVER), {"WSCTL_TOKEN": ""}, "WSCTL_TOKEN: is set but empty"),
    "a user": (
        (*CONNECT, "--sub", NOT_UTF8),
        {"WSCTL_JWT_SECRET": "x" * 32},
        "--sub: is not text in UTF-8",
    ),
    "a session": ((*CONNECT, "--session", NOT_UTF8), {}, "--session: is not text in UTF-8"),
    "a header": ((*CONNECT, "-H", f"X-Key: {NOT_UTF8}"), {}, "--header: X-Key has a control character"),
    "a header in a variable": (CONNECT, {"WSCTL_HEADER": f"X-Key:{CONTROL}"}, "WSCTL_HEADER: X-Key has a control"),
    "a header of two lines": ((*CONNECT, "-H", f"X-Key: {CANARY}\r\nA: b"), {}, "--header: X-Key has a control"),
    "the name of a header": ((*CONNECT, "-H", f"{CANARY} x: y"), {}, "--header: the name of a header"),
    "an origin": ((*CONNECT, "--origin", NOT_UTF8), {}, "--origin: has a control character"),
    "a subprotocol": ((*CONNECT, "--subprotocol", f"token.{NOT_UTF8}"), {}, "--subprotocol: has a character"),
    "a password": (("connect", f"ws://bob:{CANARY}/x@127.0.0.1/"), {}, "Port could not be cast"),
    "a URL": (("connect", f"{SERVER}?token={NOT_UTF8}"), {}, "contains a character that no URL can have"),
    "a short secret beside a public key": (
        ("serve", "--port", "0", "--host", "0.0.0.0", "--jwt-algorithm", "ES256", "--jwt-public-key", "public.pem"),
        {"WSCTL_JWT_SECRET": "abc"},
        "JWT secret: 3 bytes are too short",
    ),
    "a short secret of a guest": (CONNECT, {"WSCTL_JWT_SECRET": "abc"}, "JWT secret: 3 bytes are too short"),
    "a short secret of a guest's token": (
        ("token", "guest", "--signed"),
        {"WSCTL_JWT_SECRET": "abc"},
        "JWT secret: 3 bytes are too short",
    ),
    "a short secret of a load test": (LOADTEST, {"WSCTL_JWT_SECRET": "abc"}, "JWT secret: 3 bytes are too short"),
    "a short secret of voice": (VOICE, {"WSCTL_JWT_SECRET": "abc"}, "JWT secret: 3 bytes are too short"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("credentials")
    (path / "bad").write_bytes(os.fsencode(NOT_UTF8))
    (path / "empty").write_bytes(b"\xef\xbb\xbf\r\n")
    (path / "recording").write_text('{"type":"message","timestamp":1,"sentAtMs":1}\n')
    (path / "public.pem").write_text("-----BEGIN PUBLIC KEY-----\n")
    return path


@pytest.mark.parametrize(("arguments", "variables", "problem"), CASES.values(), ids=CASES)
def test_what_nothing_can_carry_is_named_and_not_shown(folder, arguments, variables, problem):
    result = run(*arguments, cwd=folder, **variables)
    assert problem in result.stderr
    assert result.stderr.splitlines()[-1].startswith("wsctl: ")
    assert CANARY not in result.stdout + result.stderr
    assert "internal error" not in result.stderr
    assert result.returncode == 2


@pytest.mark.parametrize("debug", [{}, {"WSCTL_DEBUG": "1"}], ids=["", "WSCTL_DEBUG"])
def test_an_error_of_our_own_shows_what_it_is_and_not_what_it_held(folder, debug):
    fault = f"""
import cli.token, cli.main, sys
def fail(*_):
    try:
        "{CANARY}\\udcff".encode()
    except UnicodeEncodeError as error:
        raise KeyError("{CANARY}") from error
cli.token.mint_guest_token = fail
sys.argv = ["wsctl", "token", "guest"]
cli.main.main()
"""
    result = subprocess.run(
        [sys.executable, "-c", fault],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **debug},
        check=False,
    )
    assert result.returncode == 1
    assert CANARY not in result.stdout + result.stderr
    if debug:
        assert result.stderr.count("Traceback") == 2
        assert "in fail" in result.stderr
        assert "wsctl: UnicodeEncodeError: surrogates not allowed\n" in result.stderr
        assert result.stderr.endswith("wsctl: KeyError\n")
    else:
        assert result.stderr == "wsctl: internal error: KeyError; WSCTL_DEBUG=1 shows the traceback\n"


def test_what_a_library_logs_in_a_client_is_one_line_without_values(folder):
    fault = f"""
import asyncio, gc
from cli.output import guard_logging
guard_logging()
async def fail():
    raise KeyError("{CANARY}")
async def main():
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    del task
    gc.collect()
asyncio.run(main())
"""
    result = subprocess.run(
        [sys.executable, "-c", fault],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert result.stderr == "wsctl: asyncio: Task exception was never retrieved: KeyError\n"

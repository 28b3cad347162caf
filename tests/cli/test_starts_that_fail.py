"""`wsctl serve` that cannot start, alone and with workers: one line with the place and the mend, and its exit code."""

from __future__ import annotations

import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

AT_ONCE = 6
LOGGED = re.compile(r"\S+ (?:INFO|WARNING) (?:worker\.started|broker\.(?:unreachable|connected|refused|lost)) ")
PASSWORD, WRONG = "geheim-und-lang", "falsch-und-lang"
WEBHOOK = "--webhook http://127.0.0.1:9/ --webhook-secret-file"
UNKNOWN = ".*(?:not known|resolution).*"
REFUSES = r"the broker \S+ refuses: (?:WRONGPASS|NOAUTH|NOPERM) .*[^.]; mend user and password in WSCTL_BROKER"
UNREACHED = r"cannot reach the broker \S+: %s; start it, or mend --broker"

# Options, the exit code, and what is said.
PROBLEMS = {
    "a port that is taken": (
        "--port {taken}",
        1,
        "cannot listen on {taken_at}: Address already in use; choose another",
    ),
    "a port of operations that is taken": (
        "--ops-port {taken}",
        2,
        "--ops-port: cannot listen on {taken_at}: Address already in use; choose another --ops-port",
    ),
    "a host that nobody knows": (
        "--host nowhere.invalid --guests unsigned",
        1,
        f"cannot listen on nowhere.invalid:0: {UNKNOWN}; choose another --port or --host",
    ),
    "a folder that is not there": (
        "--uds none/wsctl.sock --guests unsigned",
        1,
        "cannot listen on none/wsctl.sock: No such file or directory; choose another --uds",
    ),
    "no secret of webhooks": (f"{WEBHOOK} none.key", 2, "--webhook-secret-file: none.key: No such file"),
    "a bad secret of webhooks": (f"{WEBHOOK} bad.key", 2, "--webhook-secret-file: a secret is whsec_ and base64; echo"),
    "no secret": ("--jwt-secret-file none.key", 2, "--jwt-secret-file: none.key: No such file"),
    "a bad secret": (
        "--jwt-secret-file bad.key",
        2,
        "JWT secret: 1 bytes are too short for HS256, 32 .*; put one",
    ),
    "a bad key of operations": (
        "--ops-port 0 --ops-key-file bad.key",
        2,
        "--ops-key-file: a key has 16 characters or more; openssl rand",
    ),
    "a bad certificate": ("--tls-cert bad.key --tls-key bad.key", 2, "--tls-cert: bad.key holds no certificate; give"),
}
# What WSCTL_BROKER names, the exit code, and what is said.
REFUSED = {
    "another password": (f"redis://:{WRONG}@{{locked}}", 4, REFUSES),
    "no password": ("redis://{locked}", 4, REFUSES),
    "a user who may not look": (f"redis://blind:{PASSWORD}@{{locked}}", 4, REFUSES),
    "a user who may run no script": (f"redis://mute:{PASSWORD}@{{locked}}", 4, REFUSES),
}
UNREACHABLE = {
    "nothing there": ("redis://{unused_at}", 3, UNREACHED % "Connection refused"),
    "a host that nobody knows": ("redis://nowhere.invalid", 3, UNREACHED % f"(?:{UNKNOWN}|no answer)"),  # in time
    "nobody who answers": ("redis://{taken_at}", 3, UNREACHED % "no answer"),
    "no Sentinel": (
        "redis+sentinel://{unused_at}/mymaster",
        3,
        UNREACHED % "no Sentinel knows a master 'mymaster': {unused_at}: Connection refused",
    ),
    "a web server": ("redis://{web_at}", 3, UNREACHED % "Protocol error.*"),
    "a certificate that nobody vouches for": ("rediss://{secured_at}", 3, UNREACHED % "TLS: certificate verify failed"),
}


@pytest.fixture
def places(tmp_path):
    """What options are filled in with."""
    (tmp_path / "bad.key").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port, free = taken.getsockname()[1], unused.getsockname()[1]
        yield {"taken": port, "taken_at": f"127.0.0.1:{port}", "unused_at": f"127.0.0.1:{free}"}


def said_once(end, code, says):
    assert end.returncode == code, end.stderr
    *logged, line = end.stderr.splitlines()
    assert re.match(f"wsctl: {says}", line), end.stderr
    assert all(map(LOGGED.match, logged)), end.stderr
    assert (end.stdout, PASSWORD in end.stderr, WRONG in end.stderr) == ("", False, False)


@pytest.mark.parametrize("workers", [(), ("--workers", "2", "--broker", "redis://127.0.0.1:9")])
@pytest.mark.parametrize("cause", PROBLEMS)
def test_what_is_wrong_is_said_in_one_line(wsctl, places, cause, workers):
    options, code, says = PROBLEMS[cause]
    if workers and "--uds" in options:
        code, says = 2, "--uds: several workers listen at a port, each at a socket of its own; leave one out"
    end = wsctl("serve", "--port", "0", *options.format(**places).split(), *workers)
    said_once(end, code, says.format(**places))


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_redis_that_lets_nobody_in_is_not_waited_for(wsctl, redis, workers):
    with redis.client as client:
        for user, command in {"blind": "info", "mute": "evalsha"}.items():
            client.acl_setuser(user, True, passwords=f"+{PASSWORD}", keys="*", channels="*", commands=["+@all"])
            client.execute_command("ACL", "SETUSER", user, f"-{command}")
        client.config_set("requirepass", PASSWORD)
    for url, code, says in REFUSED.values():
        variables = {"WSCTL_BROKER": url.format(locked=f"127.0.0.1:{redis.port}")}
        said_once(wsctl("serve", "--port", "0", *workers, **variables), code, says)


@pytest.fixture
def web_at():
    class Silent(BaseHTTPRequestHandler):
        def log_message(self, *_args):
            pass

    with HTTPServer(("127.0.0.1", 0), Silent) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


@pytest.mark.slow  # a start waits 10 s for its broker
@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_broker_that_is_not_reached_is_named_with_the_reason(
    wsctl, places, web_at, start_redis, make_certificate, workers
):
    secured = start_redis(certificate=make_certificate("127.0.0.1"))
    places |= {"web_at": web_at, "secured_at": f"127.0.0.1:{secured.tls_port}"}

    def start(url):
        return wsctl("serve", "--port", "0", *workers, WSCTL_BROKER=url.format(**places))

    wsctl("--version")  # the first one starts what all are forked from
    with ThreadPoolExecutor(AT_ONCE) as threads:
        ends = list(threads.map(start, [url for url, _, _ in UNREACHABLE.values()]))
    for end, (_, code, says) in zip(ends, UNREACHABLE.values(), strict=True):
        said_once(end, code, says.format(**places))

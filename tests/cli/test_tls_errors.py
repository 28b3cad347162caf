"""Every command that dials says why TLS failed and which option helps, and that option then helps."""

from __future__ import annotations

import pytest

SHORT = ("--connections", "2", "--duration", "300ms", "--ramp", "100ms", "--drain", "100ms")
LOAD = (*SHORT, "--rate", "40", "--threshold", "loss<=1")  # some pings come within the 300 ms
COMMANDS = {
    "connect": (["connect"], ["--send", "x", "--expect", "message", "--timeout", "20s"]),
    "voice say": (["voice", "say", "hello"], ["--typed", "--timeout", "20s"]),
    "loadtest": (["loadtest", "heartbeat"], [*LOAD]),
}
SELF_SIGNED = (
    "TLS: CERTIFICATE_VERIFY_FAILED: the certificate is self-signed; "
    "trust it with --ca FILE, or skip the check with --insecure"
)


@pytest.mark.parametrize(("words", "options"), COMMANDS.values(), ids=COMMANDS)
def test_a_command_names_the_option_that_helps_against_a_certificate(serving, wsctl, make_certificate, words, options):
    made = make_certificate("127.0.0.1")
    server = serving("--tls-cert", str(made.cert), "--tls-key", str(made.key))
    refused = wsctl(*words, server.url, *options)
    assert refused.returncode == 3
    assert refused.stderr.splitlines()[-1] == f"wsctl: cannot connect to {server.url}: {SELF_SIGNED}"
    plain = server.url.replace("wss:", "ws:")
    wrong = wsctl(*words, plain, *options)
    assert wrong.returncode == 3
    expected = f"wsctl: cannot connect to {plain}: this port speaks TLS; did you mean wss://?"
    assert wrong.stderr.splitlines()[-1] == expected
    nothing = wsctl(*words, server.url, *options, "--ca", str(made.key))
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr.splitlines()[-1] == f"wsctl: --ca: {made.key} holds no certificates; give a PEM file"
    if words[0] != "voice":  # this server has no voice
        trusted = wsctl(*words, server.url, *options, "--ca", str(made.cert))
        assert trusted.returncode in (0, 98), trusted.stderr


def test_a_load_test_by_wss_of_a_port_without_tls_says_so(serving, wsctl):
    server = serving("--engine", "websockets")
    url = server.url.replace("ws:", "wss:")
    wrong = wsctl("loadtest", "heartbeat", url, *LOAD)
    assert wrong.returncode == 3
    expected = f"wsctl: cannot connect to {url}: this port speaks no TLS; did you mean ws://?"
    assert wrong.stderr.splitlines()[-1] == expected

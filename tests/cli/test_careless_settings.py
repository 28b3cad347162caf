"""Settings that would leave a server open, or let nobody in: each is told before it starts, with its place."""

from __future__ import annotations

import pytest

from cli.options.ops import OpsOptions
from cli.options.scale import ScaleOptions
from cli.options.serve import (
    AuthOptions,
    LimitOptions,
    ListenOptions,
    ProxyOptions,
    TimeOptions,
    TlsOptions,
    server_settings,
)
from cli.options.webhooks import WebhookOptions
from wscore.errors import ConfigError
from wsserver.brokers.redistarget import read_target
from wsserver.webhooks.settings import HookUrl, WebhookSettings
from wsserver.webhooks.signing import SigningKeys

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def settings(webhooks=None, **times):
    return server_settings(
        *(ListenOptions(), TlsOptions(), AuthOptions(), ProxyOptions(), LimitOptions()),
        *(TimeOptions(**times), ScaleOptions(), webhooks or WebhookOptions()),
    )


# Each is made of a secret store, or of a command in $(...), that gave nothing; the default would be open to more.
@pytest.mark.parametrize(
    "variable",
    [
        *("WSCTL_CONNECTING_URL", "WSCTL_WEBHOOK", "WSCTL_WEBHOOK_SECRET_FILE", "WSCTL_BROKER", "WSCTL_TLS_CERT"),
        *("WSCTL_TLS_KEY", "WSCTL_GUESTS", "WSCTL_SESSION_JOIN", "WSCTL_ALLOWED_HOST", "WSCTL_ISSUER"),
    ],
)
def test_an_empty_variable_does_not_open_the_server(monkeypatch, variable):
    assert settings()
    for empty in ("", " \n"):
        monkeypatch.setenv(variable, empty)
        with pytest.raises(ConfigError, match=f"{variable}: is set but empty; unset it, or give it a value"):
            settings()


@pytest.mark.parametrize("text", ["", " , "])
def test_a_list_of_brokers_that_names_none_is_not_taken_for_none(text):
    for options in (ScaleOptions(broker=[text]), ScaleOptions(broker=[text], workers=2)):
        with pytest.raises(ConfigError, match="--broker: is empty, and this process would be alone"):
            options.targets()


@pytest.mark.parametrize(
    "variable", ["WSCTL_OPS_KEY", "WSCTL_OPS_READ_KEY", "WSCTL_OPS_KEY_FILE", "WSCTL_OPS_KEYS_FILE"]
)
def test_an_empty_variable_does_not_open_the_operations_port(monkeypatch, variable):
    monkeypatch.setenv(variable, "")
    assert OpsOptions().settings() is None
    with pytest.raises(ConfigError, match=f"{variable}: is set but empty; unset it, or give it a value"):
        OpsOptions(ops_port=0).settings()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (OpsOptions(ops_host="0.0.0.0"), "--ops-host: there is no operations port to use it at; add --ops-port"),
        (WebhookOptions(webhook_events="joined"), "--webhook-events: there is no webhook to use it for; add --webhook"),
        (WebhookOptions(webhook_memory=1 << 20), "--webhook-memory: there is no webhook to use it for; add --webhook"),
    ],
)
def test_what_would_have_no_effect_is_told(options, says):
    with pytest.raises(ConfigError, match=says):
        options.settings()


def test_a_time_in_which_nobody_gets_in_is_refused():
    with pytest.raises(ConfigError, match="--handshake-timeout: must be more than 0"):
        settings(handshake_timeout=0)
    with pytest.raises(ConfigError, match="--guest-ttl: must be more than 0"):
        server_settings(
            *(ListenOptions(), TlsOptions(), AuthOptions(guest_ttl=0), ProxyOptions(), LimitOptions()),
            *(TimeOptions(), ScaleOptions(), WebhookOptions()),
        )


@pytest.mark.parametrize("reach", [lambda: HookUrl("--webhook", "https://h/"), lambda: read_target("rediss://h")])
@pytest.mark.parametrize(
    ("content", "says"),
    [(None, r"SSL_CERT_FILE: .*certificates: No such file or directory; name a PEM"), ("", "holds no certificates")],
)
def test_a_file_of_certificates_that_is_none_is_told_at_the_start(monkeypatch, tmp_path, reach, content, says):
    assert reach()
    monkeypatch.setenv("SSL_CERT_FILE", str(file := tmp_path / "certificates"))
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=says):
        reach()


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:0/", "http://a..b/", f"http://{'a' * 64}.example/", "http://127.0.0.1\\canary/"),
        *("http://h;canary/", f"http://{'a.' * 130}example/", "http://.canary/"),
    ],
)
def test_a_target_that_nobody_can_have_is_refused(url):
    with pytest.raises(ConfigError, match="--webhook: has a host or a port that nobody can have") as caught:
        HookUrl("--webhook", url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://a_b-c.example.:8/", "http://[::1]:9/", "http://127.0.0.1", "http://xn--4ca/"])
def test_a_target_that_somebody_can_have_is_taken(url):
    assert HookUrl("--webhook", url).url == url


def test_a_target_is_told_once():
    targets = [HookUrl("--webhook", f"http://{host}/", number) for number, host in enumerate("aba", 1)]
    keys = SigningKeys([SECRET], "test")
    assert WebhookSettings(targets[:2], keys)
    with pytest.raises(ConfigError, match="--webhook: target 1 is given twice"):
        WebhookSettings(targets, keys)

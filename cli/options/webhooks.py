"""The options of what a server tells a backend over HTTP, and asks it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from cli.secrets import WEBHOOK_VARIABLE, read_webhook_secrets
from cli.settings import size_option
from cli.spreading import OptionGroup
from cli.variables import variable_of
from wscore.errors import ConfigError
from wscore.installation import require_packages
from wsserver.webhooks.settings import (
    DEFAULT_WEBHOOK_MEMORY,
    ConnectingSettings,
    HookUrl,
    WebhookEvent,
    WebhookSettings,
    events_of,
)
from wsserver.webhooks.signing import MEND, SigningKeys

PACKAGES: Final = ("h11",)
ALL_EVENTS: Final = ",".join(WebhookEvent)


class WebhookOptions(OptionGroup, frozen=True, kw_only=True):
    """What a backend is told of, and asked."""

    TITLE: ClassVar = "Webhooks"

    webhook: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Post events there (repeatable); needs a secret.")
    ] = None
    connecting_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask there who may connect; needs a secret.")
    ] = None
    webhook_events: Annotated[
        str, typer.Option(metavar="LIST", help=f"Of these: {', '.join(WebhookEvent)}.", show_default="all")
    ] = ALL_EVENTS
    webhook_secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"File with the secret that signs (or {WEBHOOK_VARIABLE}).")
    ] = None
    webhook_memory: Annotated[int, size_option("Events that wait to be posted, in all.", show_default="16MiB")] = (
        DEFAULT_WEBHOOK_MEMORY
    )

    def settings(self) -> WebhookSettings | None:
        """Return what is told to whom, None for nobody; raises ConfigError."""
        if not self.webhook:
            for option, is_given in (
                ("--webhook-secret-file", self.webhook_secret_file is not None and self.connecting_url is None),
                ("--webhook-events", self.webhook_events != ALL_EVENTS),
                ("--webhook-memory", self.webhook_memory != DEFAULT_WEBHOOK_MEMORY),
            ):
                if is_given:
                    raise ConfigError(option, "there is no webhook to use it for", "add --webhook URL")
            return None
        targets = tuple(_target("--webhook", url, number) for number, url in enumerate(self.webhook, 1))
        return WebhookSettings(targets, self._keys("--webhook"), events_of(self.webhook_events), self.webhook_memory)

    def connecting(self) -> ConnectingSettings | None:
        """Return who decides who may connect, None for the tokens alone; raises ConfigError."""
        if self.connecting_url is None:
            return None
        target = _target("--connecting-url", self.connecting_url)
        return ConnectingSettings(target, self._keys("--connecting-url"))

    def _keys(self, option: str) -> SigningKeys:
        source, secrets = read_webhook_secrets(self.webhook_secret_file)
        if not secrets:
            raise ConfigError(option, "no secret is set to sign with", f"set {WEBHOOK_VARIABLE}, or: {MEND}")
        return SigningKeys(secrets, source)


def _target(option: str, url: str, number: int = 1) -> HookUrl:
    require_packages(option, PACKAGES, "webhooks")
    target = HookUrl(option, url, number)
    if "?" in url and any(url in argument for argument in sys.argv):
        raise ConfigError(
            option,
            "has a query, which others see in the list of processes",
            f"set {variable_of(option.lstrip('-'))}, or write it into wsctl.toml",
        )
    return target

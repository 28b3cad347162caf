"""The options of what a server tells a backend over HTTP."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from cli.secrets import WEBHOOK_VARIABLE, read_webhook_secrets
from cli.settings import size_option
from wscore.errors import ConfigError
from wscore.installation import require_packages
from wsserver.webhooks.settings import DEFAULT_WEBHOOK_MEMORY, HookUrl, WebhookEvent, WebhookSettings, events_of
from wsserver.webhooks.signing import MEND, SigningKeys

PACKAGES: Final = ("h11",)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """What a backend is told of."""

    TITLE: ClassVar = "Webhooks"

    webhook: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Post events there (repeatable); needs a secret.")
    ] = None
    webhook_events: Annotated[
        str, typer.Option(metavar="LIST", help=f"Of these: {', '.join(WebhookEvent)}.", show_default="all")
    ] = ",".join(WebhookEvent)
    webhook_secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"File with the secret that signs (or {WEBHOOK_VARIABLE}).")
    ] = None
    webhook_memory: Annotated[int, size_option("Events that wait to be posted, in all.", show_default="16MiB")] = (
        DEFAULT_WEBHOOK_MEMORY
    )

    def settings(self) -> WebhookSettings | None:
        """Return what is told to whom, None for nobody; raises ConfigError."""
        if not self.webhook:
            if self.webhook_secret_file is not None:
                raise ConfigError("--webhook-secret-file", "there is no webhook to sign", "add --webhook URL")
            return None
        require_packages("--webhook", PACKAGES, "webhooks")
        targets = tuple(HookUrl("--webhook", url, number) for number, url in enumerate(self.webhook, 1))
        for url in self.webhook:
            if "?" in url and any(url in argument for argument in sys.argv):
                raise ConfigError(
                    "--webhook",
                    "has a query, which others see in the list of processes",
                    "set WSCTL_WEBHOOK, or write it into wsctl.toml",
                )
        return WebhookSettings(targets, self._keys(), events_of(self.webhook_events), self.webhook_memory)

    def _keys(self) -> SigningKeys:
        source, secrets = read_webhook_secrets(self.webhook_secret_file)
        if not secrets:
            raise ConfigError("--webhook", "no secret is set to sign with", f"set {WEBHOOK_VARIABLE}, or: {MEND}")
        return SigningKeys(secrets, source)

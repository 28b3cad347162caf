"""The options of `wsctl serve` about more than one process, and the brokers that they name."""

from __future__ import annotations

import sys
from typing import Annotated, ClassVar, Final

import typer

from cli.spreading import OptionGroup
from cli.variables import in_environment
from wscore.errors import ConfigError
from wscore.installation import require_packages
from wsserver.brokers.redistarget import RedisTarget, read_list, read_target
from wsserver.settings import DEFAULT_BROKER_PREFIX

PACKAGES: Final = ("hiredis", "redis")


class ScaleOptions(OptionGroup, frozen=True, kw_only=True):
    """More than one process."""

    TITLE: ClassVar = "More than one process"

    workers: Annotated[
        int, typer.Option(min=1, max=256, metavar="N", help="Processes that serve; more than one needs --broker.")
    ] = 1
    broker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="Redis that they share, as redis://host:6379/0 (repeatable: groups are spread)."
        ),
    ] = None
    broker_before: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Each --broker of processes that run beside this one until they are exchanged (repeatable).",
        ),
    ] = None
    broker_prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="Begins every key and channel there: one for each application.")
    ] = DEFAULT_BROKER_PREFIX

    def targets(self) -> tuple[RedisTarget, ...] | None:
        """Return each Redis that the processes share, if there is any."""
        targets = _targets("--broker", self.broker)
        if targets:
            require_packages("--broker", PACKAGES, "redis")
            return targets
        if self.workers > 1:
            problem = f"{self.workers} processes need a broker, or they would not know of each other's clients"
            raise ConfigError("--workers", problem, "give --broker redis://127.0.0.1:6379")
        return None

    def targets_before(self) -> tuple[RedisTarget, ...]:
        """Return those of processes that are being exchanged."""
        return _targets("--broker-before", self.broker_before)


def _targets(option: str, texts: list[str] | None) -> tuple[RedisTarget, ...]:
    urls = [url for text in texts or () for url in read_list(text)]
    if texts and not urls:
        raise ConfigError(option, "is empty, and this process would be alone", "name a Redis, or leave it out")
    targets = tuple(read_target(url, option) for url in urls)
    for url, target in zip(urls, targets, strict=True):
        if target.has_password and any(url in argument for argument in sys.argv):
            problem = "holds a password, which others see in the list of processes"
            raise ConfigError(option, problem, in_environment(option))
    return targets

"""Servers as processes, as the commands' own tests start them."""

from tests.cli.conftest import start_wsctl

__all__ = ["start_wsctl"]

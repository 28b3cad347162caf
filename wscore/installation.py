"""Which distribution this is, and the command that adds what is missing to it as it was installed."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import PurePath
from typing import Final
from urllib.parse import unquote, urlsplit

from wscore.errors import ConfigError, WsctlError

DISTRIBUTION: Final = "wsctl-toolkit"  # `wsctl` on PyPI is another program (docs/adr/0007)


class NotInstalledError(WsctlError):
    """A command needs a package that this installation does without (docs/adr/0007)."""

    def __init__(self, package: str) -> None:
        super().__init__(package)
        self.package = package

    def __str__(self) -> str:
        return f"{self.package} is not installed, and this command needs it; everything comes with {install_line()}"


def install_line(extra: str = "") -> str:
    """Return the command that installs the distribution again, with an extra, for the installation that runs."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        direct_url = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:  # run from a source tree that is not installed
        direct_url = None
    return line_for(extra, direct_url=direct_url, prefix=sys.prefix, executable=sys.executable)


def require_packages(setting: str, packages: Iterable[str], extra: str) -> None:
    """Raise ConfigError that says which packages a setting lacks, and the extra that brings them."""
    if missing := [package for package in packages if find_spec(package) is None]:
        raise ConfigError(setting, f"{', '.join(missing)} is not installed", install_line(extra))


def line_for(extra: str, *, direct_url: str | None, prefix: str, executable: str) -> str:
    """Return the command for what the metadata says (PEP 610) and where the environment is.

    pipx and uv keep each program in an environment of its own, which their own command has to make anew.
    """
    what = shlex.quote(_source(direct_url) + (f"[{extra}]" if extra else ""))
    parts = PurePath(prefix).parts
    if "pipx" in parts:
        return f"pipx install --force {what}"
    if "uv" in parts and "tools" in parts:
        return f"uv tool install --force {what}"
    return f"{shlex.quote(executable)} -m pip install {what}"


def _source(direct_url: str | None) -> str:
    """Return what to name to the installer: the directory that it came from if that is still there, else its name.

    An image is without the directory that it was built from.
    """
    url = urlsplit(json.loads(direct_url)["url"]) if direct_url else None
    if url is None or url.scheme != "file" or url.path.endswith(".whl"):
        return DISTRIBUTION
    directory = unquote(url.path)
    return directory if os.path.exists(directory) else DISTRIBUTION

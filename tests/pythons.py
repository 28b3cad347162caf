"""The interpreters of this machine that wsctl supports."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def pythons() -> dict[str, str]:
    """Return them by version, such as 3.12: on PATH, or kept by pyenv, whose shims are none; this one among them."""
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = {f"3.{minor}": shutil.which(f"python3.{minor}") for minor in range(11, 20)}
    kept = {".".join(path.parents[1].name.split(".")[:2]): str(path) for path in installed.glob("3.1[1-9]*/bin/python")}
    others = {version: path for version, path in found.items() if path is not None and "shims" not in path} | kept
    return dict(sorted((others | {f"3.{sys.version_info.minor}": sys.executable}).items()))

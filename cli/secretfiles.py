"""Files with keys that others on the machine can read: a server warns of each once, when it starts, as ssh does."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from cli.spreading import OptionGroup
from wscore.text import neutralise
from wsserver.telemetry.logs import EventLog

_SECRET: Final = ("_secret_file", "_key_file", "_keys_file")  # what the names of their options end with
_TLS_KEY: Final = "tls_key"
# Only the kernel's memory holds these: secrets of Kubernetes and of service managers, readable to all in their mount.
_IN_MEMORY: Final = frozenset(("tmpfs", "ramfs"))
_MOUNTS: Final = Path("/proc/self/mountinfo")


def warn_of_readable(groups: Iterable[OptionGroup], log: EventLog) -> None:
    """Log a warning for each file with a secret, of those that options name, that everybody on the machine can read."""
    for option, file in secret_files(groups):
        if others_may_read(file):
            log.warning("secret.readable", option=option, file=neutralise(str(file)), mend="chmod o-r, and a new key")


def secret_files(groups: Iterable[OptionGroup]) -> Iterator[tuple[str, Path]]:
    """Yield the option and the file of each secret that groups of options, and those in them, name."""
    for group in groups:
        for name in group.__struct_fields__:
            value = getattr(group, name)
            if isinstance(value, OptionGroup):
                yield from secret_files([value])
            elif isinstance(value, Path) and (name.endswith(_SECRET) or name == _TLS_KEY):
                yield f"--{name.replace('_', '-')}", value


def others_may_read(file: Path) -> bool:
    """Tell whether a file is open to who is neither its owner nor in its group, by all folders that lead to it.

    A group is somebody's choice, so it may read. What only memory holds is left out: Kubernetes mounts a secret so that
    all users of a container may read it, and there are no others.
    """
    if os.name != "posix":
        return False
    try:
        real = file.resolve(strict=True)
        found = real.stat()
        if not found.st_mode & stat.S_IROTH or _kind_of(found.st_dev) in _IN_MEMORY:
            return False
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    except OSError:
        return False  # whoever needs it says what is wrong


def _kind_of(device: int) -> str:
    """Return the kind of file system that a device is, empty if that is not known (proc(5))."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        place, _, kind = line.partition(" - ")
        if place.split()[2] == wanted:
            return kind.split()[0]
    return ""

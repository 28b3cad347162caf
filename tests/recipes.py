"""What the pages show as commands, block by block: how each is run, or why it is not."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.pages import blocks as blocks_of
from wscore.tokens import mint_jwt

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in ("cli", "apps", "examples", "terminal", "voice", "loadtest", "proxies", "operations", "publishing")
    ),
)
SECRET = "a secret for tests, 32 bytes or more"
with socket.create_server(("127.0.0.1", 0)) as free_socket:
    WEB_PORT = free_socket.getsockname()[1]
with socket.create_server(("127.0.0.1", 0)) as free_socket:
    OPS_PORT = free_socket.getsockname()[1]

FENCED = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Commands that stand indented; usage lines and what a command prints are none.
INDENTED = re.compile(r"(?<=\n\n)((?:    \S.*\n(?:      \S.*\n)*)+)")
COMMAND = re.compile(r"    (?:\$ )?(?:wsctl|openssl|locust) (?!.*\[OPTIONS\])")


def blocks() -> dict[str, str]:
    """Return every block of commands by its page and first line."""
    found = {}
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        texts = FENCED.findall(text)
        for block in INDENTED.findall(FENCED.sub("\n\n", text)):
            if COMMAND.match(block):
                lines = [line[4:] for line in block.splitlines()]
                asked = [line[2:] for line in lines if line.startswith("$ ")]  # the others are what it answers
                texts.append("\n".join(asked or lines) + "\n")
        for block in texts:
            found[f"{page}: {block.splitlines()[0].partition('  #')[0].strip()}"] = block
    return found


BLOCKS = blocks()


NOT_RUN = {
    "README.md: make serve": "installs into .venv and runs for ever; what it runs, other recipes run",
    "README.md: make test": "is what runs here",
    "docs/cli.md: wsctl loadtest find-max broadcast --by rate --connections 1000 --threshold 'delivery.p99<20ms'": (
        "searches for minutes; tests/cli/test_loadtest_verdicts.py searches"
    ),
    "docs/loadtest.md: wsctl loadtest heartbeat --serve --threshold 'rtt.p99<50ms' --out reports --github": (
        "tests/cli/test_loadtest_publish.py runs it"
    ),
    "docs/loadtest.md: wsctl loadtest heartbeat ws://localhost:3000/ --protocol raw": (
        "needs such a server; tests of the load tester's protocols have them"
    ),
    "docs/loadtest.md: wsctl loadtest find-max heartbeat --by connections --threshold 'rtt.p99<50ms'": "the same",
    "docs/loadtest.md: wsctl loadtest heartbeat ws://target:8765/socket.io/ --connections 20000 --master 5557 "
    "--expect-workers 2": "needs machines; tests/cli/test_loadtest_two_hosts.py has two network namespaces",
    "docs/cli.md: wsctl loadtest run scenario.py --connections 200 --duration 1m "
    "--threshold 'step.p99<200ms' --out reports": "its tests run a scenario of their own",
    "docs/loadtest.md: wsctl loadtest run scenario.py ws://127.0.0.1:8765/socket.io/ --connections 100 --duration 1m "
    "--threshold 'step.p99<200ms'": "the same",
    "docs/voice.md: wsctl serve --voice --llm-url http://127.0.0.1:8080 --asr-url https://speech.example/v1 "
    "--asr-model whisper-1": "needs those servers; tests/cli/test_voice_backends.py has stand-ins for them",
    "docs/operations.md: umask 022": ("tests/deploy/test_from_nothing.py goes this way, in folders of its own"),
    "docs/operations.md: install -d -m 0750 /etc/wsctl": "the same",
    "docs/operations.md: curl --silent --fail http://127.0.0.1:9100/readyz": "the same",
    "docs/operations.md: apt-get install --yes prometheus": "tests/cli/test_prometheus.py starts it with that file",
    "docs/operations.md: promtool query instant http://127.0.0.1:9090 wsctl_worker_up": "the same, which asks that",
    "docs/operations.md: mkdir -p deploy/secrets": "needs docker; tests/deploy/test_deploy_files.py checks its files",
    "docs/operations.md: kubectl create secret generic wsctl --from-file=jwt.secret --from-file=ops.key "
    "--from-file=ops-read.key --from-file=broker": "needs a cluster; the same",
    "docs/operations.md: wsctl serve --workers 4 --broker redis://127.0.0.1:6379": (
        "needs a Redis there; tests/cli/test_serve_workers.py has one of its own"
    ),
}


def python_block(page: str, number: int) -> str:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)[number]


def chat_of_the_apps_page(folder: Path) -> None:
    (folder / "chat.py").write_text(python_block("docs/apps.md", 0))


def app_of_the_apps_page(file: str, holding: str) -> Callable[[Path], None]:
    (text,) = [text for text in blocks_of(ROOT / "docs" / "apps.md", "python") if holding in text]
    return lambda folder: (folder / file).write_text(text)


def chat_of_the_readme(folder: Path) -> None:
    (folder / "chat.py").write_text(python_block("README.md", 0))


def example(name: str) -> Callable[[Path], None]:
    return lambda folder: shutil.copytree(ROOT / "examples" / name, folder, dirs_exist_ok=True)


def dashboard(folder: Path) -> None:
    example("dashboard")(folder)
    (folder / "wsctl.toml").write_text(f"[app]\nweb-port = {WEB_PORT}\n")


def lines_and_readings(folder: Path) -> None:
    chat_of_the_apps_page(folder)
    (folder / "lines.txt").write_text('one\ntwo, with a "quote"\n')
    (folder / "readings.json").write_text('{"sensor": "t1", "value": 20.5}\n{"sensor": "t2", "value": 21}\n')


def question(folder: Path) -> None:
    subprocess.run(["espeak-ng", "-w", "question.wav", "what time is it"], cwd=folder, check=True)


def secret_and_token(folder: Path) -> None:
    secret_file(folder)
    (folder / "token.txt").write_text(mint_jwt(SECRET.encode(), {"sub": "alice", "exp": int(time.time()) + 3600}))


def secret_file(folder: Path) -> None:
    for name in ("secret.txt", "jwt.secret"):
        (folder / name).write_text(SECRET + "\n")


def keys(folder: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    (folder / "jwks.json").write_text(json.dumps({"keys": [RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)]}))
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout private.pem -out certificate.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    shutil.copy(folder / "private.pem", folder / "key.pem")
    shutil.copy(folder / "certificate.pem", folder / "cert.pem")
    secret_file(folder)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a block is run: what must be there, what else is said in its place, and what comes of it.

    `serves` are the arguments of a server that runs already. `stdin` is what its reader types. `feeds` are lines that
    somebody else in the room goes on sending; the block, which would run for ever, ends once `shows` was printed.
    """

    before: Callable[[Path], None] = lambda folder: None
    serves: str | None = None
    instead: dict[str, str] = field(default_factory=dict)
    stdin: str = ""
    feeds: str = ""
    shows: tuple[str, ...] = ()
    exits: tuple[int, ...] = (0,)
    needs: tuple[str, ...] = ()
    is_slow: bool = False


CHATTING = Recipe(before=chat_of_the_apps_page, serves="chat:app")
# Small figures, and limits that a busy machine keeps; 98 says that it was too busy to tell.
SMALL = {
    r"ws://staging:8765/socket.io/": "",
    r"--connections \d+": "--connections 4",
    r"--sessions \d+": "--sessions 2",
    r"--rate \d+": "--rate 20",
    r"--duration \S+": "--duration 1s",
    r"(p\d+)<\d+ms": r"\1<60s",
}
LOADING = Recipe(serves="", instead=SMALL, exits=(0, 98), shows=("heartbeat",))
SPEAKING = Recipe(serves="--voice", before=question, needs=("espeak-ng",), shows=("time",), is_slow=True)

OPERATED = Recipe(serves=f"--ops-port {OPS_PORT}")

RECIPES = {
    "docs/publishing.md: wsctl serve --ops-port 9100": Recipe(
        instead={"9100": str(OPS_PORT)}, shows=("published to room news as seq 1", '"title": "Rain"')
    ),
    "docs/operations.md: wsctl serve --ops-port 9100": Recipe(instead={"9100": str(OPS_PORT)}),
    """docs/cli.md: wsctl publish --room news --type news.item '{"title": "Rain"}'""": replace(
        OPERATED, shows=("published to room news as seq 1", "published to room builds as seq 1")
    ),
    "docs/cli.md: wsctl rooms chat.": OPERATED,
    "docs/cli.md: wsctl top --json --interval 1s": OPERATED,
    "docs/cli.md: wsctl connections --room chat.staff": OPERATED,
    "docs/cli.md: wsctl history --room chat.kitchen --limit 20 | jq -r .data.text": OPERATED,
    'docs/cli.md: wsctl kick alice --reason "Please log in again"': replace(OPERATED, exits=(1,)),  # she is not there
    "docs/cli.md: wsctl revoke alice --issued-before now": replace(
        OPERATED, shows=("revoked all tokens of user alice issued before", "revoked the token f3a1, until")
    ),
    "README.md: wsctl serve chat:app": Recipe(before=chat_of_the_readme, shows=('"text":"hi"',)),
    "README.md: wsctl serve --ops-port 9100": Recipe(
        instead={"9100": str(OPS_PORT), "python -c": f"{sys.executable} -c"},
        shows=("published to room news as seq 1\n2\n", '"seq":3'),
    ),
    "README.md: pip install '.[voice,whisper]'": replace(SPEAKING, serves=None),
    "docs/apps.md: wsctl serve chat:app": Recipe(
        before=chat_of_the_apps_page, stdin='{"text": "hello"}\n', shows=('"chat.message"', '"chat.sent"')
    ),
    "docs/apps.md: wsctl serve rooms:app": Recipe(
        before=app_of_the_apps_page("rooms.py", '@app.on_join("team.*")'),
        stdin="hello\n",
        shows=('"members":["guest_', '"memberCount":1'),
    ),
    "docs/examples.md: wsctl serve chat:app": Recipe(
        before=example("chat"), shows=('"text":"tea?"', '"members":["guest_')
    ),
    "docs/examples.md: wsctl serve dashboard:app": Recipe(
        before=dashboard, instead={"8000": str(WEB_PORT)}, shows=('{"seq":1}',)
    ),
    "docs/examples.md: wsctl serve game:app": Recipe(before=example("game"), shows=('"room":"game.',)),
    "docs/cli.md: wsctl explain --app game:app game.move": Recipe(
        before=app_of_the_apps_page("game.py", 'app.sends("game.moved"'), shows=("reply data  moves: integer",)
    ),
    "docs/cli.md: set -euo pipefail": Recipe(before=chat_of_the_apps_page, shows=("ok", '"chat.message"')),
    'docs/cli.md: WSCTL_TOKEN="$(wsctl token jwt --sub probe --ttl 1m)" wsctl connect "$URL" '
    "--expect session_created --timeout 5s": Recipe(serves="--guests off", shows=('"userId":"probe"',)),
    "docs/cli.md: wsctl connect --session room |": replace(
        CHATTING, feeds='{"text": "hello"}\n', shows=("guest_", ": hello\n")
    ),
    """docs/cli.md: wsctl connect --send '{"type":"chat.send","id":"1","data":{"text":"hi"}}' """
    "--expect chat.sent --timeout 5s |": replace(CHATTING, shows=('"type": "chat.sent"', '"id": "1"')),
    "docs/cli.md: jq --raw-input --compact-output '{text: .}' lines.txt | wsctl connect --session room "
    "--type chat.send": replace(
        CHATTING, before=lines_and_readings, shows=('"text":"one"', '"text":"two, with', "t1 is at 20.5", "t2 is at 21")
    ),
    "docs/cli.md: wsctl connect --session room --record session.jsonl --timeout 1m > /dev/null": replace(
        CHATTING, instead={"1m": "2s"}, shows=("1 session_created",)
    ),
    "docs/cli.md: wsctl connect --send 'hello' --expect message --timeout 5s": Recipe(
        serves="", shows=('"data":"hello"',)
    ),
    "docs/cli.md: wsctl connect --record talk.jsonl": Recipe(serves="", stdin="hello\n", shows=('"data":"hello"',)),
    'docs/cli.md: wsctl voice say "what time is it"': SPEAKING,
    "docs/cli.md: wsctl voice send question.wav --save": SPEAKING,
    "docs/cli.md: wsctl loadtest heartbeat --connections 5000 --rate 5000 --threshold 'rtt.p99<50ms' "
    "--out reports": LOADING,
    "docs/cli.md: wsctl loadtest broadcast --connections 1000 --sessions 10 --rate 100 "
    "--threshold 'delivery.p99<50ms' --threshold 'loss<=0'": replace(LOADING, shows=("broadcast",), is_slow=True),
    "docs/cli.md: wsctl loadtest soak --connections 5000 --duration 8h --out soak": replace(
        LOADING, shows=("soak",), is_slow=True
    ),
    "docs/cli.md: wsctl loadtest voice question.wav --connections 10 --threshold 'answer.p95<1500ms' "
    "--threshold 'stalls<=0'": replace(SPEAKING, instead=SMALL, shows=("voice",), exits=(0, 98, 99)),
    """docs/cli.md: wsctl token jwt --sub alice --ttl 8h --claim roles='["editor"]' --room 'team.*'""": Recipe(
        shows=("eyJ",)
    ),
    "docs/cli.md: wsctl token inspect - --jwt-secret-file jwt.secret < token.txt": Recipe(
        before=secret_and_token, shows=("verdict    valid", '"sub": "alice"')
    ),
    "docs/cli.md: wsctl explain 4002": Recipe(shows=("4002 connection timeout",)),
    "docs/cli.md: openssl rand -hex 32 > jwt.secret": Recipe(needs=("openssl",)),
    "docs/cli.md: openssl pkey -in private.pem -pubout > public.pem": Recipe(before=keys, needs=("openssl",)),
    "docs/cli.md: wsctl serve --host 0.0.0.0 --jwt-algorithm RS256 --jwks-file jwks.json --audience chat \\": Recipe(
        before=keys, needs=("openssl",)
    ),
    "docs/voice.md: pip install '.[voice,whisper]'": replace(SPEAKING, serves=None),
    "docs/voice.md: ffmpeg -i song.mp3 -ar 16000 -ac 1 -f wav - | wsctl voice send -": SPEAKING,
    "docs/loadtest.md: wsctl loadtest broadcast --connections 1000 --rooms 20 --rate 100": replace(
        LOADING, instead={**SMALL, r"--rooms \d+": "--rooms 2"}, shows=("broadcast",), is_slow=True
    ),
    "docs/loadtest.md: wsctl loadtest broadcast --serve --connections 200 --rate 50 --duration 20s \\": replace(
        LOADING, serves=None, shows=("broadcast",), is_slow=True
    ),
    "docs/loadtest.md: wsctl loadtest --serve": replace(LOADING, is_slow=True),
    "docs/loadtest.md: wsctl loadtest voice question.wav --serve": replace(
        SPEAKING, instead={**SMALL, r".*find-max.*": ""}, shows=("voice",), exits=(0, 98, 99)
    ),
    "docs/loadtest.md: wsctl loadtest heartbeat --out before": replace(LOADING, exits=(0, 98, 99), is_slow=True),
    "docs/proxies.md: wsctl serve --profile prod --jwt-secret-file secret.txt --trusted-proxy 127.0.0.1 "
    "--allowed-host app.example": Recipe(before=secret_file),
    "docs/proxies.md: wsctl serve --proxy-protocol --trusted-proxy 10.0.0.0/8 --tls-cert cert.pem --tls-key key.pem "
    "--jwt-secret-file secret.txt": Recipe(before=keys, needs=("openssl",)),
    "docs/proxies.md: wsctl serve --uds /run/wsctl/wsctl.sock --trusted-proxy unix --jwt-secret-file "
    "secret.txt": Recipe(before=secret_file, instead={"/run/wsctl/": ""}),
}

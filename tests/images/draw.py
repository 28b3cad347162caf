"""`make images`: draws every picture of `docs/images` anew, each from a run of `wsctl` in real terminals.

The server listens at its default port, as the pictures tell. Look at them before you keep them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from tests.pages import ROOT
from tests.tmux import Tmux

IMAGES: Final = ROOT / "docs" / "images"
COLUMNS: Final = 118
FONTS: Final = "ui-monospace, Menlo, Consolas, monospace"
FACES: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # which a reader's browser would fetch from elsewhere
ORDER: Final = {"order": 7, "items": ["flat white", "croissant"], "takeaway": True}
TRICKS: Final = "and \u202e\x1b[31mno tricks\x1b[0m [/red]"


@contextmanager
def terminals(*lines: int, **variables: str) -> Iterator[list[Tmux]]:
    """Give terminals of so many lines each, with variables, in which `wsctl` is on the PATH, and end them."""
    with TemporaryDirectory() as folder:
        opened: list[Tmux] = []
        for size in ("COLUMNS", "LINES"):  # which would be told to all of them
            os.environ.pop(size, None)
        os.environ.update(SHELL="/bin/sh", COLORTERM="truecolor", XDG_STATE_HOME=folder, **variables)
        try:
            for count in lines:
                opened.append(Tmux(Path(folder), COLUMNS, count))
                enter(opened[-1], f"PS1='$ '; PATH={shlex.quote(str(ROOT / '.venv' / 'bin'))}:$PATH; clear")
                opened[-1].wait_until(lambda screen: screen.strip() == "$", "a prompt")
            yield opened
        finally:
            for terminal in opened:
                terminal.end()


def enter(terminal: Tmux, line: str) -> None:
    """Type a line of the shell and end it."""
    terminal.write(line)
    terminal.keys("Enter")


def send(terminal: Tmux, text: str) -> None:
    """Write a message in the composer of the terminal client, send it and leave the composer."""
    terminal.keys("c")
    terminal.wait_for("^j Send")
    terminal.write(text)
    terminal.wait_for(text[-20:])
    terminal.keys("C-j", "Escape")
    terminal.wait_for("c Write")


def svg(title: str, *parts: Text | Rule) -> str:
    """Draw the parts one below the other in a window."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text), highlight=False)
    drawn = console.export_svg(title=title, unique_id="terminal")
    drawn = FACES.sub("", drawn).replace("font-family: Fira Code, monospace;", f"font-family: {FONTS};")
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


def picture(terminal: Tmux) -> Text:
    """Return what stands in a terminal, without the empty lines at its end."""
    return Text.from_ansi(terminal.coloured().rstrip("\n "))  # as one: tmux sets a colour where it changes alone


def first_minutes() -> str:
    """A server, the terminal client, and a pipe that speaks to it; then the server is stopped."""
    with terminals(14, 15, 4) as (server, client, pipe):
        enter(server, "wsctl serve --log-level warning")
        server.wait_for("stop:")
        enter(client, "wsctl connect --session lobby")
        client.wait_for("● open", "session_created")
        enter(pipe, 'echo "hello from a pipe" | wsctl connect --session lobby --expect message | tail -1 | jq -r .data')
        pipe.wait_for("\nhello from a pipe")
        send(client, "hello from a terminal")
        client.wait_until(lambda screen: screen.count("hello from a terminal") == 2, "the message, there and back")
        server.keys("C-c")
        client.wait_for("1001 going away")
        parts: list[Text | Rule] = []
        for number, (name, terminal) in enumerate((("server", server), ("client", client), ("pipe", pipe)), 1):
            parts += [
                Rule(f"terminal {number}: the {name}", align="left", style="bright_black"),
                picture(terminal),
                Text(),
            ]
        return svg("wsctl", *parts[:-1])


def terminal() -> str:
    """The terminal client: who said what, a reply in full, and a message that is being written."""
    with terminals(12, 31, 20, WSCTL_JWT_SECRET=secrets.token_hex(32)) as (server, alice, bob):
        enter(server, "wsctl serve --log-level warning")
        server.wait_for("stop:")
        enter(alice, "wsctl connect --session lobby --sub alice")
        alice.wait_for("● open", "session_created")
        enter(bob, "wsctl connect --session lobby --sub bob >/dev/null")
        bob.wait_for("connected as bob")
        enter(bob, '{"text":"Is the kitchen open?"}')
        alice.wait_for("Is the kitchen open?")
        send(alice, '{"text": "Let me look"}')
        alice.wait_until(lambda screen: screen.count("Let me look") == 2, "the message, there and back")
        send(alice, '{"type": "room.join", "id": "j1", "data": {"room": "kitchen"}}')
        alice.wait_for("▼ room.joined")
        enter(bob, json.dumps(ORDER))
        alice.wait_for("flat white")
        enter(bob, json.dumps({"text": TRICKS}))
        alice.wait_for("no tricks")
        alice.keys("Up", "Up", "Enter")
        alice.wait_for("request #7", '"epoch"')
        alice.keys("c")
        alice.wait_for("^j Send")
        alice.write('{"text": "Coming at {{now}} ☕"}')
        alice.wait_for("☕")
        return svg("wsctl connect --session lobby", picture(alice))


def top() -> str:
    """The live view of a server: who is connected, one of them who talks, and what that costs."""
    with terminals(12, 24, 12, WSCTL_JWT_SECRET=secrets.token_hex(32)) as (server, watcher, others):
        enter(server, "wsctl serve --ops-port 9100 --log-level warning")
        server.wait_for("stop:")
        for user, room in (("alice", "kitchen"), ("bob", "kitchen"), ("carol", "garden")):
            enter(others, f"sleep 600 | wsctl connect --session lobby --room {room} --sub {user} >/dev/null &")
            others.wait_for(f"connected as {user}")
        hello = "while :; do echo hello; sleep 0.1; done"
        enter(others, f"clear; {hello} | wsctl connect --session lobby --room garden --sub dave >/dev/null &")
        others.wait_for("connected as dave")
        enter(watcher, "wsctl top --interval 500ms")
        watcher.wait_for("alice", "bob", "carol", "dave")
        watcher.wait_for("largest room garden (2)", "q Quit")
        watcher.wait_until(lambda screen: "–" not in screen, "rates")
        return svg("wsctl top", picture(watcher))


PICTURES: Final[dict[str, Callable[[], str]]] = {"first-minutes": first_minutes, "terminal": terminal, "top": top}


def main() -> None:
    """Draw them into docs/images, or into a folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=IMAGES)
    folder = parser.parse_args().folder
    for name, draw in PICTURES.items():
        (folder / f"{name}.svg").write_text(draw(), "utf-8")
        print(folder / f"{name}.svg")  # noqa: T201


if __name__ == "__main__":
    main()

"""`make man`: writes a manual page for each command, and the scripts of `wsctl completion`, from what `--help` shows.

The pages are kept in the repository, so that a wheel needs no build step; a test compares them with the commands.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from typer.completion import get_completion_script
from typer.main import get_command

import cli.main
from cli.exits import ExitCode
from tests.pages import ROOT

MAN: Final = ROOT / "docs" / "man"
COMPLETION: Final = ROOT / "docs" / "completion"
SCRIPTS: Final = {"bash": "wsctl.bash", "zsh": "_wsctl", "fish": "wsctl.fish"}


def escaped(text: str) -> str:
    """Return text as roff shows it: no backslash, dash or leading dot of it is a command."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


class RoffFormatter:
    """Writes what a command says for `--help` as a manual page; it has the methods of Click's formatter."""

    # Click asks for these; a manual page is as wide as its reader's terminal.
    width: Final = 1_000_000
    current_indent: Final = 0

    def __init__(self, summary: str) -> None:
        self._summary = summary
        self._lines: list[str] = []

    def write(self, string: str) -> None:
        self._lines.extend(escaped(line) for line in string.splitlines() if line)

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        name = prog.replace(" ", "-")
        self._lines += [f'.TH "{name.upper()}" "1" "" "wsctl" "wsctl"', ".SH NAME"]
        self._lines += [f"{escaped(name)} \\- {escaped(self._summary)}"]
        self._lines += [".SH SYNOPSIS", f"\\fB{escaped(prog)}\\fR {escaped(args)}", ".SH DESCRIPTION"]

    def write_paragraph(self) -> None:
        if not self._lines[-1].startswith(".SH"):
            self._lines.append(".PP")

    def write_text(self, text: str) -> None:
        paragraphs = text.strip().split("\n\n")
        for number, paragraph in enumerate(paragraphs):
            if number:
                self._lines.append(".PP")
            self.write(" ".join(paragraph.split()))

    def write_dl(self, rows: Sequence[tuple[str, str]], *_: int) -> None:
        for term, text in rows:
            self._lines += [".TP", f"\\fB{escaped(term)}\\fR", escaped(" ".join(text.split()))]

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        self._lines.append(f".SH {name.upper()}")
        yield

    @contextmanager
    def indentation(self) -> Iterator[None]:
        yield

    def page(self) -> str:
        while self._lines[-1] == ".PP":
            self._lines.pop()
        return "\n".join(self._lines) + "\n"


def commands(command: Any, parent: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name, the command and the context of a command and of all below it."""
    settings = command.context_settings
    context = command.context_class(command, info_name=name.rpartition(" ")[2], parent=parent, **settings)
    yield name, command, context
    for below in getattr(command, "list_commands", lambda _: [])(context):
        yield from commands(command.get_command(context, below), context, f"{name} {below}")


def pages() -> dict[str, str]:
    """Return every manual page by its file's name."""
    found = list(commands(get_command(cli.main._root), None, "wsctl"))
    made = {}
    for name, command, context in found:
        formatter = RoffFormatter((command.help or "").strip().split("\n\n")[0].rstrip("."))
        command.format_help(context, formatter)
        related = [
            other for other, _, _ in found if other.rpartition(" ")[0] == name or name.rpartition(" ")[0] == other
        ]
        lines = ",\n".join(f"\\fB{escaped(other.replace(' ', '-'))}\\fR(1)" for other in related)
        ends = ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in ExitCode)
        made[f"{name.replace(' ', '-')}.1"] = f"{formatter.page()}.SH EXIT STATUS\n{ends}.\n.SH SEE ALSO\n{lines}\n"
    return made


def scripts() -> dict[str, str]:
    """Return the script for each shell by its file's name."""
    return {
        file: get_completion_script(prog_name="wsctl", complete_var=cli.main.COMPLETE_VARIABLE, shell=shell) + "\n"
        for shell, file in SCRIPTS.items()
    }


def main() -> int:
    """Write both folders anew."""
    for folder, files in ((MAN, pages()), (COMPLETION, scripts())):
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

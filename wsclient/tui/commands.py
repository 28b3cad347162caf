"""Every action of the main screen as data: key, name and help; bindings, palette and docs are made from it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from textual.binding import Binding


class Command(Struct, frozen=True):
    """One action. `in_stream` keys are single letters, which work while the stream has the focus.

    Those that `needs_server` are hidden where a recording is looked through.
    """

    id: str
    keys: str
    action: str
    title: str
    help: str
    in_stream: bool = False
    in_footer: bool = False
    needs_server: bool = False


COMMANDS: Final = (
    Command("compose", "c,i", "compose", "Write", "Write a message", in_stream=True, in_footer=True, needs_server=True),
    Command("filter", "f", "filter", "Filter", "Show only what matches", in_stream=True, in_footer=True),
    Command("search", "slash", "search", "Search", "Find text or /regex/", in_stream=True, in_footer=True),
    Command("search-next", "n", "search_next(1)", "Next match", "Go to the next match", in_stream=True),
    Command("search-previous", "N", "search_next(-1)", "Previous match", "Go to the match before", in_stream=True),
    Command("pause", "space", "pause", "Pause", "Stop the stream; nothing is lost", in_stream=True, in_footer=True),
    Command("errors", "e", "errors", "Errors only", "Show errors only, or everything again", in_stream=True),
    Command("heartbeats", "b", "heartbeats", "Heartbeats", "Show or hide ping and pong", in_stream=True),
    Command("clear", "x", "clear", "Clear", "Empty the stream; the recording keeps everything", in_stream=True),
    Command("detail", "enter", "detail", "Detail", "Show or hide the selected message in full", in_stream=True),
    Command("copy", "y", "copy_json", "Copy JSON", "Copy the selected message as JSON", in_stream=True),
    Command("copy-send", "Y", "copy_send", "Copy --send", "Copy it as a wsctl connect --send line", in_stream=True),
    Command(
        "capture",
        "v",
        "capture",
        "Capture",
        "Keep a value of the selected message, and of all that have it, as {{name}}",
        in_stream=True,
        needs_server=True,
    ),
    Command(
        "edit-again",
        "r",
        "edit_again",
        "Edit again",
        "Put the selected message into the composer",
        in_stream=True,
        needs_server=True,
    ),
    Command("health", "f2", "panel('health')", "Health", "Show or hide round trips, rates and limits", in_footer=True),
    Command("latest", "f3", "panel('latest')", "Latest by type", "Show or hide the latest message of each type"),
    Command(
        "handshake",
        "f6",
        "panel('handshake')",
        "Handshake",
        "Show or hide request, answer and TLS of the connection",
        needs_server=True,
    ),
    Command("variables", "f7", "panel('variables')", "Variables", "Show or hide what is captured", needs_server=True),
    Command(
        "ping", "P", "ping", "Ping", "Send a WebSocket ping, tell its round trip", in_stream=True, needs_server=True
    ),
    Command("editor", "f4", "editor", "Editor", "Write the message in $EDITOR", needs_server=True),
    Command("record", "ctrl+s", "record", "Record", "Record to a file, or stop", in_footer=True, needs_server=True),
    Command(
        "send-file",
        "ctrl+o",
        "send_file",
        "Send file",
        "Send each line of a file, or one JSON document",
        needs_server=True,
    ),
    Command(
        "speak",
        "f5",
        "speak",
        "Send WAV",
        "Send speech from a WAV file and save the answer, or stop",
        needs_server=True,
    ),
    Command("history", "ctrl+r", "history", "History", "Search what was sent before", needs_server=True),
    Command("saved", "f9", "saved", "Saved", "Pick a saved message, to change, send or delete it", needs_server=True),
    Command("save", "alt+s", "save_message", "Save", "Save the message under a name", needs_server=True),
    Command("room", "alt+r", "next_room", "Room", "Send to the next room, or to the session again", needs_server=True),
    Command("repeat", "ctrl+t", "repeat", "Repeat", "Send the message every N ms, or stop", needs_server=True),
    Command("reconnect", "ctrl+k", "reconnect", "Reconnect", "Connect again now", needs_server=True),
    Command("form", "ctrl+n", "form", "Connect to…", "Connect to another server", needs_server=True),
)


NEEDING_SERVER: Final = frozenset(command.action for command in COMMANDS if command.needs_server)


def bindings(*, in_stream: bool) -> list[Binding]:
    """Return the bindings for the stream or for the whole screen; their ids are what a keymap names."""
    return [
        Binding(
            command.keys,
            f"screen.{command.action}",
            command.title,
            show=command.in_footer,
            id=command.id,
            tooltip=command.help,
        )
        for command in COMMANDS
        if command.in_stream is in_stream
    ]

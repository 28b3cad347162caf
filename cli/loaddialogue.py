"""Turns what people say about a server's protocol and messages into a part of the plan."""

from __future__ import annotations

import csv
from pathlib import Path

from msgspec.structs import replace

from cli.loadprobe import Spoken
from cli.options.load import LoadTargetOptions, MessageOptions
from loadtest.dialogue import Dialogue, ReplyBy, question_of, statement_of
from loadtest.scenarios.base import FileKind, Scenario
from loadtest.templates import frame_template, read_template
from wscore.errors import ConfigError
from wscore.foreign import ProtocolName, ProtocolSettings


def dialogue_of(scenario: Scenario, spoken: Spoken | None, target: LoadTargetOptions) -> Dialogue | None:
    """Return what is said to a server of another protocol, None for wsctl's own; raises ConfigError.

    `spoken` is what the server was found to speak, None if that was not looked for.
    """
    said = target.messages
    settings = _protocol(target.protocol.settings(), spoken, said)
    if settings is None:
        return None
    if scenario.foreign_traffic() is None:
        raise ConfigError("--protocol", f"a {scenario.name} test speaks wsctl's own protocol only")
    if said.message and scenario.file is not None and scenario.file.kind is FileKind.RECORDING:
        raise ConfigError("--message", f"a {scenario.name} test sends what the file holds")
    if said.reply is not ReplyBy.AUTO and not scenario.asks:
        raise ConfigError("--reply", f"nobody is asked in a {scenario.name} test", "leave it out")
    is_by_key = said.reply_key is not None and said.reply is ReplyBy.AUTO
    dialogue = Dialogue(
        settings,
        tuple(said.message or ()),
        () if said.data is None else read_rows(said.data),
        ReplyBy.KEY if is_by_key else said.reply,
        said.reply_type,
        said.reply_key,
    )
    if scenario.file is None:
        _check(dialogue, asks=scenario.asks)
    return dialogue


def _protocol(settings: ProtocolSettings, spoken: Spoken | None, said: MessageOptions) -> ProtocolSettings | None:
    if settings.name is ProtocolName.AUTO:
        settings = replace(settings, name=ProtocolName.WSCTL if spoken is None else spoken.name)
    return None if settings.name is ProtocolName.WSCTL and not said.message else settings


def _check(dialogue: Dialogue, *, asks: bool) -> None:
    """Raise ConfigError for what could not be sent, before anything runs."""
    name, adapter = dialogue.protocol.name, dialogue.adapter()
    columns = dialogue.rows[0] if dialogue.rows else ()
    lines = dialogue.messages or (question_of(name) if asks else statement_of(name),)
    templates = [read_template(line, adapter, "--message", columns) for line in lines]
    for frame in adapter.first:
        frame_template(frame, "--on-open", columns)
    if adapter.opening is not None:
        frame_template(adapter.opening, "--channel", columns)
    if not asks and not all("stamp" in template.names for template in templates):
        raise ConfigError("--message", "a broadcast has no {{stamp}}", "that is what tells which message was delivered")
    if dialogue.reply_by in (ReplyBy.ID, ReplyBy.KEY) and not all("id" in template.names for template in templates):
        raise ConfigError("--reply", f"{dialogue.reply_by} needs an {{{{id}}}} in every message")
    if dialogue.reply_by is ReplyBy.ECHO and not all("stamp" in template.names for template in templates):
        raise ConfigError("--reply", "echo needs a {{stamp}} in every message")


def read_rows(path: Path) -> tuple[dict[str, str], ...]:
    """Return the rows of a CSV file with a line of names; raises ConfigError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
    except OSError as error:
        raise ConfigError("--data", f"{path}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError("--data", f"{path} is no CSV file: {error}") from None
    if not rows:
        raise ConfigError("--data", f"{path} has no rows", "its first line names the columns")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ConfigError("--data", f"{path}: line {number} has not as many fields as the first one")
    return tuple(rows)

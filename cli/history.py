"""`wsctl history`: what a room or a session of a running server keeps, and its end."""

from __future__ import annotations

from json import dumps
from typing import Any

from cli.operating import MAX_PAGE, confirm
from cli.options.operator import KeptOptions, OperatorOptions
from cli.options.output import Json
from cli.output import note, out, out_json
from cli.settings import ConfigFile
from cli.spreading import spread
from wscore.errors import ConfigError
from wscore.text import json_line, neutralise


@spread
def history(*, kept: KeptOptions, target: OperatorOptions, json: Json = False, config: ConfigFile = None) -> None:
    """Print the last messages that a room or a session keeps, a line of JSON each, or remove them all.

    What is kept, and for how long, the --recovery options of the server say.
    """
    if (kept.room is None) == (kept.session is None):
        raise ConfigError("wsctl history", "whose?", "give one of --room and --session")
    named = f"room {kept.room}" if kept.room is not None else f"session {kept.session}"
    with target.asking() as publisher:
        if kept.remove:
            confirm(f"remove all messages that the {named} keeps?", yes=kept.yes)
            removed = publisher.remove_history(room=kept.room, session=kept.session).removed
            if json:
                out_json({"removed": removed})
            else:
                out(f"removed what the {neutralise(named)} kept")
            return
        messages: list[Any] = []
        before, left = kept.before, kept.limit
        while left > 0:
            page = publisher.history(room=kept.room, session=kept.session, limit=min(left, MAX_PAGE), before=before)
            messages = page + messages
            left -= len(page)
            if len(page) < MAX_PAGE:
                break
            before = page[0]["seq"]
    if json:
        out_json({"messages": messages})
        return
    for message in messages:
        out(json_line(dumps(message, ensure_ascii=False)))
    if not messages:
        note(f"the {named} keeps nothing")


command = history

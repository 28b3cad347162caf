"""Messages that somebody keeps under a name, in collections, in a file of JSON lines that a team can share."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from wsclient.tui.model.history import Draft
from wscore.errors import ConfigError


def split_name(name: str) -> tuple[str, str]:
    """Return the collection of a message, empty for none, and its name there."""
    collection, _, own = name.strip().rpartition("/")
    return collection.strip(" /"), own.strip()


class SavedMessages:
    """Drafts by name, in alphabetical order, those in no collection first; `COLLECTION/NAME` is in one.

    Each call reads the file anew: another client may have written it. All raise ConfigError for a file that cannot be
    read or written; one with something else in it stays as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Draft]:
        """Return all of them; none without the file."""
        try:
            lines = self.path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(str(self.path), f"cannot be read: {error}") from None
        drafts = {}
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    value = json.loads(line)
                    drafts[str(value["name"])] = Draft.from_json(value)
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    raise ConfigError(
                        f"{self.path}:{number}", "is no saved message", "mend the line or delete it"
                    ) from None
        return dict(sorted(drafts.items(), key=lambda item: split_name(item[0])))

    def save(self, name: str, draft: Draft) -> None:
        """Keep a draft; one of the same name is replaced."""
        collection, own = split_name(name)
        if not own:
            raise ConfigError("name", "is empty", "give the message a name")
        self._write({**self.read(), f"{collection}/{own}" if collection else own: draft})

    def delete(self, name: str) -> None:
        """Forget one."""
        self._write({key: draft for key, draft in self.read().items() if key != name})

    def search(self, words: str) -> list[tuple[str, Draft]]:
        """Return those that contain every word, in name, type or text."""
        wanted = words.casefold().split()
        return [
            (name, draft)
            for name, draft in self.read().items()
            if all(word in f"{name} {draft.type} {draft.text}".casefold() for word in wanted)
        ]

    def _write(self, drafts: dict[str, Draft]) -> None:
        text = "".join(json.dumps({"name": name, **draft.to_json()}) + "\n" for name, draft in drafts.items())
        try:
            descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(text)
                Path(temporary).replace(self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ConfigError(str(self.path), f"cannot be written: {error.strerror or error}") from None

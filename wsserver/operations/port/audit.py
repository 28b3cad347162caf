"""What operators have done, in the log: who, what, whom, from where, and what came of it.

Nothing that may be done is left out: where an act fails in whatever way, its line says what is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from wscore.operations import ApiErrorCode, Problem
from wsserver.operations.acts import BroadcastMessage, Publishing, PublishMessage
from wsserver.operations.port.door import Operator
from wsserver.operations.port.replies import encode
from wsserver.operations.problems import ApiError
from wsserver.telemetry.logs import EventLog

UNKNOWN: Final = Problem(ApiErrorCode.UNKNOWN_OUTCOME, "")
MAX_TARGET_CHARS: Final = 2000  # in one line; to make a text harmless takes long where all of it is harmful
CHARS_AT_ONCE: Final = 8000  # in one turn of the event loop
LINE_COST: Final = 200  # so many characters are made harmless in the time that a line takes besides


class Audit:
    """Writes a line `ops.act` for each act; one with many targets takes several, which say whom each is for."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def note(self, operator: Operator, act: str, target: str, problem: Problem | None, **more: object) -> None:
        """Note what came of an act."""
        result = "done" if problem is None else problem.code.value
        self._log.info(
            "ops.act", key=operator.name, peer=operator.address, act=act, target=target, result=result, **more
        )

    async def published(
        self, operator: Operator, acts: Sequence[Publishing], problems: Sequence[Problem | None]
    ) -> None:
        """Note what came of acts that publish, a few in each turn of the event loop."""
        chars = 0
        for act, problem in zip(acts, problems, strict=True):
            for target, more in _targets(act):
                chars += LINE_COST + len(target)
                if chars > CHARS_AT_ONCE:
                    chars = LINE_COST + len(target)
                    await asyncio.sleep(0)
                name = "broadcast" if isinstance(act, BroadcastMessage) else "publish"
                self.note(operator, name, target, problem, **more)


@contextmanager
def failing(note: Callable[[Problem], None]) -> Iterator[None]:
    """Have it noted that the block fails; what fails as it should not may be done or not."""
    try:
        yield
    except ApiError as error:
        note(error.problem)
        raise
    except BaseException:
        note(UNKNOWN)
        raise


def target_of(message: PublishMessage) -> str:
    """Return whom a message is for."""
    kinds = {"session": message.session, "room": message.room, "user": message.user}
    return ",".join(f"{kind}:{name}" for kind, name in kinds.items() if name is not None)


def _targets(act: Publishing) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield whom an act is for, line by line: names of a broadcast as JSON, since they may hold whatever parts them."""
    if isinstance(act, PublishMessage):
        yield target_of(act), {}
        return
    names: list[str] = []
    size = part = 0
    for message in act.each():
        name = target_of(message)
        if size + len(name) > MAX_TARGET_CHARS and names:
            part += 1
            yield encode(names).decode(), {"count": act.targets, "part": part}
            names, size = [], 0
        names.append(name)
        size += len(name)
    yield encode(names).decode(), {"count": act.targets, **({"part": part + 1} if part else {})}

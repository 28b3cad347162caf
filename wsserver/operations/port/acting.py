"""What operators have done: each act is carried out, and noted, whatever comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Final

from msgspec import Raw

from wscore.operations import (
    ActResult,
    ApiErrorCode,
    BatchResult,
    BroadcastResult,
    DisconnectResult,
    HistoryRemoved,
    Problem,
    Published,
    RevokeResult,
    SendResult,
    TargetResult,
)
from wscore.revocations import Revocation
from wsserver.operations.acts import (
    MAX_TARGETS,
    Act,
    ActBatch,
    BroadcastMessage,
    EndConnections,
    Publishing,
    PublishMessage,
    SendMessage,
)
from wsserver.operations.asking import Operations, done
from wsserver.operations.port.audit import UNKNOWN, Audit, failing
from wsserver.operations.port.door import Operator
from wsserver.operations.port.pages import HistoryTarget
from wsserver.operations.problems import ApiError
from wsserver.operations.queries import (
    Answer,
    GroupName,
    PublishAll,
    PublishAnswer,
    PublishOutcome,
    Query,
    Reach,
    ReachAnswer,
    RemoveHistory,
    RevokeAnswer,
    RevokeTokens,
)
from wsserver.telemetry.logs import EventLog

MAX_PUBLISHED_BYTES: Final = 16 << 20


class Acting:
    """Carries acts out, wherever those are whom they are for."""

    def __init__(self, operations: Operations, log: EventLog) -> None:
        self._operations = operations
        self._audit = Audit(log)

    def refuse(self, operator: Operator, act: str) -> None:
        """Note that somebody wanted what the key is not good for."""
        self._audit.note(operator, act, "", Problem(ApiErrorCode.FORBIDDEN, ""))

    async def publish(self, operator: Operator, message: PublishMessage) -> Published:
        """Publish a message; raises ApiError."""
        ((outcome,),) = await self._publish(operator, [message])
        if outcome.published is None:
            assert outcome.problem is not None
            raise _error(outcome.problem)
        return outcome.published

    async def broadcast(self, operator: Operator, message: BroadcastMessage) -> BroadcastResult:
        """Publish a message to many; raises ApiError if that cannot be begun."""
        if not 1 <= message.targets <= MAX_TARGETS:
            raise ApiError(ApiErrorCode.INVALID_REQUEST, f"Name 1 to {MAX_TARGETS} targets in all.", "$")
        (outcomes,) = await self._publish(operator, [message])
        return _broadcast_result(message, outcomes)

    async def send(self, operator: Operator, what: SendMessage) -> SendResult:
        """Send a message to a connection; raises ApiError."""
        count, missing = await self._reach(operator, "send", f"connection:{what.connection}", what)
        return SendResult(count, missing)

    async def disconnect(self, operator: Operator, what: EndConnections) -> DisconnectResult:
        """Close connections; raises ApiError."""
        targets = _targets(what, "connection", "user", "session", "room")
        if len(targets) != 1:
            raise ApiError(ApiErrorCode.INVALID_REQUEST, "Name one of connection, user, session and room.", "$")
        count, missing = await self._reach(operator, "disconnect", targets[0], what)
        return DisconnectResult(count, missing)

    async def batch(self, operator: Operator, batch: ActBatch) -> BatchResult:
        """Carry out several acts in their order: publishes that follow each other go out together."""
        messages = sum(act.targets for act in batch.acts if isinstance(act, BroadcastMessage))
        if messages > MAX_TARGETS:
            raise ApiError(ApiErrorCode.INVALID_REQUEST, f"A batch has at most {MAX_TARGETS} targets in all.", "$.acts")
        with failing(lambda problem: self._audit.note(operator, "batch", "", problem, count=len(batch.acts))):
            _check_size([act for act in batch.acts if isinstance(act, Publishing)])
        results: list[ActResult] = []
        run: list[Publishing] = []
        for act in batch.acts:
            if isinstance(act, Publishing):
                run.append(act)
                continue
            results += await self._run(operator, run)
            run = []
            results.append(await self._act(operator, act))
            await asyncio.sleep(0)  # in one process nothing else makes them pause
        return BatchResult(results + await self._run(operator, run))

    async def remove_history(self, operator: Operator, target: HistoryTarget) -> HistoryRemoved:
        """Have a session or a room keep nothing of what was; raises ApiError."""
        kind, name = history_target(target)
        await self._one(operator, "history.remove", f"{kind}:{name}", RemoveHistory(kind, name))
        return HistoryRemoved()

    async def revoke(self, operator: Operator, revocation: Revocation) -> RevokeResult:
        """Revoke tokens; raises ApiError."""
        what = [("jti", revocation.jti), ("user", revocation.user_id), ("issued before", revocation.issued_before_ms)]
        target = " ".join(f"{k}:{v}" for k, v in what if v is not None)
        answer = await self._one(operator, "revoke", target, RevokeTokens(revocation))
        assert isinstance(answer, RevokeAnswer)
        return RevokeResult(answer.expires_at)

    async def _one(self, operator: Operator, act: str, target: str, query: Query) -> Answer:
        with failing(lambda problem: self._audit.note(operator, act, target, problem)):
            answer = await self._operations.act(query)
        self._audit.note(operator, act, target, None)
        return answer

    async def _act(self, operator: Operator, act: Act) -> ActResult:
        try:
            if isinstance(act, SendMessage):
                return ActResult(send=await self.send(operator, act))
            assert isinstance(act, EndConnections)
            return ActResult(disconnect=await self.disconnect(operator, act))
        except ApiError as error:
            return ActResult(error=error.problem)

    async def _run(self, operator: Operator, acts: Sequence[Publishing]) -> list[ActResult]:
        """Publish all of several acts at once, by one process and so in order."""
        if not acts:
            return []
        try:
            outcomes = await self._publish(operator, acts)
        except ApiError as error:
            return [ActResult(error=error.problem) for _ in acts]
        return [
            ActResult(broadcast=_broadcast_result(act, own))
            if isinstance(act, BroadcastMessage)
            else ActResult(publish=own[0].published, error=own[0].problem)
            for act, own in zip(acts, outcomes, strict=True)
        ]

    async def _publish(self, operator: Operator, acts: Sequence[Publishing]) -> list[list[PublishOutcome]]:
        """Return what became of each act at each of its targets; raises ApiError for what cannot be begun."""
        problems: list[Problem | None] = [UNKNOWN] * len(acts)
        try:
            _check_size(acts)
            answer = await self._operations.act(PublishAll(list(acts)))
            assert isinstance(answer, PublishAnswer)
            outcomes = iter(answer.outcomes)
            each = [list(islice(outcomes, act.targets)) for act in acts]
            problems = [next((out.problem for out in own if out.problem is not None), None) for own in each]
        except ApiError as error:
            problems = [error.problem] * len(acts)
            raise
        finally:
            await self._audit.published(operator, acts, problems)
        return each

    async def _reach(
        self, operator: Operator, act: str, target: str, what: SendMessage | EndConnections
    ) -> tuple[int, list[str]]:
        count = 0
        with failing(lambda problem: self._audit.note(operator, act, target, problem)):
            gathered = await self._operations.everywhere(Reach(what))
            for answer in gathered.answers.values():
                counted = done(answer)
                assert isinstance(counted, ReachAnswer)
                count += counted.count
        self._audit.note(operator, act, target, None, count=count)
        return count, gathered.missing


def history_target(target: HistoryTarget) -> tuple[GroupName, str]:
    """Return which group it is; raises ApiError unless it is one."""
    if (target.session is None) == (target.room is None):
        raise ApiError(ApiErrorCode.INVALID_REQUEST, "Name one of session and room.", "$")
    if target.session is not None:
        return "session", target.session
    assert target.room is not None
    return "room", target.room


def _check_size(acts: Sequence[Publishing]) -> None:
    """Raise ApiError for messages that take too much together: each goes to each target by itself."""
    size = sum(act.targets * _size_of(act) for act in acts)
    if size > MAX_PUBLISHED_BYTES:
        problem = f"The data of all messages together has at most {MAX_PUBLISHED_BYTES} bytes, once for each target."
        raise ApiError(ApiErrorCode.TOO_LARGE, problem)


def _size_of(act: Publishing) -> int:
    data = len(memoryview(act.data)) if isinstance(act.data, Raw) else 0
    return data + len(act.type) + len((act.user_id or "").encode())


def _targets(what: object, *kinds: str) -> list[str]:
    return [f"{kind}:{name}" for kind in kinds if (name := getattr(what, kind)) is not None]


def _broadcast_result(act: BroadcastMessage, outcomes: Sequence[PublishOutcome]) -> BroadcastResult:
    results: list[TargetResult] = []
    for message, outcome in zip(act.each(), outcomes, strict=True):
        place = outcome.published or Published()
        target = (message.session, message.room, message.user)
        results.append(TargetResult(*target, place.epoch, place.seq, outcome.problem))
    return BroadcastResult(results)


def _error(problem: Problem) -> ApiError:
    return ApiError(problem.code, problem.message, problem.place)

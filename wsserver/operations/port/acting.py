"""What operators have done: each act is carried out, and is one line of the log (who, what, whom, from where)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    PublishMessage,
    SendMessage,
)
from wsserver.operations.asking import Operations, done
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
NAMED_TARGETS: Final = 10  # of a broadcast, in its line of the log


class Acting:
    """Carries acts out, wherever those are whom they are for."""

    def __init__(self, operations: Operations, log: EventLog) -> None:
        self._operations = operations
        self._log = log

    def refuse(self, operator: Operator, act: str) -> None:
        """Note that somebody wanted what the key is not good for."""
        self._note(operator, act, "", Problem(ApiErrorCode.FORBIDDEN, ""))

    async def publish(self, operator: Operator, message: PublishMessage) -> Published:
        """Publish a message; raises ApiError."""
        (outcome,) = await self._published(operator, message)
        if outcome.published is None:
            assert outcome.problem is not None
            raise _error(outcome.problem)
        return outcome.published

    async def broadcast(self, operator: Operator, message: BroadcastMessage) -> BroadcastResult:
        """Publish a message to many; raises ApiError if that cannot be begun."""
        if not 1 <= message.targets <= MAX_TARGETS:
            raise ApiError(ApiErrorCode.INVALID_REQUEST, f"Name 1 to {MAX_TARGETS} targets in all.", "$")
        return _broadcast_result(message.each(), await self._published(operator, message))

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
        with self._noting(operator, "batch", "", count=len(batch.acts)):
            _check_size([message for act in batch.acts for message in _messages(act)])
        results: list[ActResult] = []
        run: list[PublishMessage | BroadcastMessage] = []
        for act in batch.acts:
            if isinstance(act, PublishMessage | BroadcastMessage):
                run.append(act)
                continue
            results += await self._run(operator, run)
            run = []
            results.append(await self._act(operator, act))
        return BatchResult(results + await self._run(operator, run))

    async def remove_history(self, operator: Operator, target: HistoryTarget) -> HistoryRemoved:
        """Have a session or a room keep nothing of what was; raises ApiError."""
        kind, name = history_target(target)
        await self._one(operator, "history.remove", f"{kind}:{name}", RemoveHistory(kind, name))
        return HistoryRemoved()

    async def revoke(self, operator: Operator, revocation: Revocation) -> RevokeResult:
        """Revoke tokens; raises ApiError."""
        what = [("user", revocation.user_id), ("issued before", revocation.issued_before_ms)]
        target = "jti" if revocation.jti is not None else " ".join(f"{k}:{v}" for k, v in what if v is not None)
        answer = await self._one(operator, "revoke", target, RevokeTokens(revocation))
        assert isinstance(answer, RevokeAnswer)
        return RevokeResult(answer.expires_at)

    async def _one(self, operator: Operator, act: str, target: str, query: Query) -> Answer:
        with self._noting(operator, act, target):
            answer = await self._operations.act(query)
        self._note(operator, act, target, None)
        return answer

    async def _act(self, operator: Operator, act: Act) -> ActResult:
        try:
            if isinstance(act, SendMessage):
                return ActResult(send=await self.send(operator, act))
            assert isinstance(act, EndConnections)
            return ActResult(disconnect=await self.disconnect(operator, act))
        except ApiError as error:
            return ActResult(error=error.problem)

    async def _run(self, operator: Operator, acts: Sequence[PublishMessage | BroadcastMessage]) -> list[ActResult]:
        """Publish all of several acts at once, by one process and so in order."""
        if not acts:
            return []
        each = [_messages(act) for act in acts]
        try:
            outcomes = iter(await self._publish_all([message for messages in each for message in messages]))
        except ApiError as error:
            for act in acts:
                self._note_message(operator, act, error.problem)
            return [ActResult(error=error.problem) for _ in acts]
        results: list[ActResult] = []
        for act, messages in zip(acts, each, strict=True):
            own = list(islice(outcomes, len(messages)))
            self._note_message(operator, act, _first_problem(own))
            if isinstance(act, BroadcastMessage):
                results.append(ActResult(broadcast=_broadcast_result(messages, own)))
            else:
                results.append(ActResult(publish=own[0].published, error=own[0].problem))
        return results

    async def _published(self, operator: Operator, act: PublishMessage | BroadcastMessage) -> list[PublishOutcome]:
        try:
            outcomes = await self._publish_all(_messages(act))
        except ApiError as error:
            self._note_message(operator, act, error.problem)
            raise
        self._note_message(operator, act, _first_problem(outcomes))
        return outcomes

    async def _publish_all(self, messages: list[PublishMessage]) -> list[PublishOutcome]:
        _check_size(messages)
        answer = await self._operations.act(PublishAll(messages))
        assert isinstance(answer, PublishAnswer)
        return answer.outcomes

    async def _reach(
        self, operator: Operator, act: str, target: str, what: SendMessage | EndConnections
    ) -> tuple[int, list[str]]:
        gathered = await self._operations.everywhere(Reach(what))
        count = 0
        with self._noting(operator, act, target):
            for answer in gathered.answers.values():
                counted = done(answer)
                assert isinstance(counted, ReachAnswer)
                count += counted.count
        self._note(operator, act, target, None, count=count)
        return count, gathered.missing

    def _note_message(
        self, operator: Operator, act: PublishMessage | BroadcastMessage, problem: Problem | None
    ) -> None:
        if isinstance(act, PublishMessage):
            self._note(operator, "publish", ",".join(_targets(act, "session", "room", "user")), problem)
        else:
            names = [*act.sessions, *act.rooms, *act.users]
            self._note(operator, "broadcast", ",".join(names[:NAMED_TARGETS]), problem, count=len(names))

    @contextmanager
    def _noting(self, operator: Operator, act: str, target: str, **more: object) -> Iterator[None]:
        """Note what is raised: an act that failed is one too, and nobody may know whether it was done."""
        try:
            yield
        except ApiError as error:
            self._note(operator, act, target, error.problem, **more)
            raise

    def _note(self, operator: Operator, act: str, target: str, problem: Problem | None, **more: object) -> None:
        result = "done" if problem is None else problem.code.value
        self._log.info(
            "ops.act", key=operator.name, peer=operator.address, act=act, target=target, result=result, **more
        )


def history_target(target: HistoryTarget) -> tuple[GroupName, str]:
    """Return which group it is; raises ApiError unless it is one."""
    if (target.session is None) == (target.room is None):
        raise ApiError(ApiErrorCode.INVALID_REQUEST, "Name one of session and room.", "$")
    if target.session is not None:
        return "session", target.session
    assert target.room is not None
    return "room", target.room


def _messages(act: Act) -> list[PublishMessage]:
    """Return what an act publishes."""
    if isinstance(act, PublishMessage):
        return [act]
    return act.each() if isinstance(act, BroadcastMessage) else []


def _check_size(messages: Sequence[PublishMessage]) -> None:
    """Raise ApiError for messages that take too much together: data goes to each target by itself."""
    size = sum(len(memoryview(message.data)) for message in messages if isinstance(message.data, Raw))
    if size > MAX_PUBLISHED_BYTES:
        problem = f"The data of all messages together has at most {MAX_PUBLISHED_BYTES} bytes, once for each target."
        raise ApiError(ApiErrorCode.TOO_LARGE, problem)


def _targets(what: object, *kinds: str) -> list[str]:
    return [f"{kind}:{name}" for kind in kinds if (name := getattr(what, kind)) is not None]


def _first_problem(outcomes: Sequence[PublishOutcome]) -> Problem | None:
    return next((outcome.problem for outcome in outcomes if outcome.problem is not None), None)


def _broadcast_result(messages: Sequence[PublishMessage], outcomes: Sequence[PublishOutcome]) -> BroadcastResult:
    results: list[TargetResult] = []
    for message, outcome in zip(messages, outcomes, strict=True):
        place = outcome.published or Published()
        target = (message.session, message.room, message.user)
        results.append(TargetResult(*target, place.epoch, place.seq, outcome.problem))
    return BroadcastResult(results)


def _error(problem: Problem) -> ApiError:
    return ApiError(problem.code, problem.message, problem.place)

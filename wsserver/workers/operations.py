"""A supervisor's side of the operations port: what it is asked, it asks its workers."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from wscore.operations import ApiErrorCode
from wsserver.operations.asking import Gathered, Question, Response, decode_response, done
from wsserver.operations.problems import ApiError
from wsserver.operations.queries import Answer, Query, encode
from wsserver.workers.process import WorkerProcess
from wsserver.workers.questions import WorkerGoneError
from wsserver.workers.supervisor import Supervisor

ASK_S: Final = 1.0
ELSEWHERE_S: Final = 1.5  # of one that asks others for a second itself
ACT_S: Final = 15.0  # longer than a broker may keep a publish waiting


class OwnWorkers:
    """The workers of a supervisor, each asked over a pair of sockets of its own; acts go to them in turn."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._turn = 0

    async def here(self, query: Query) -> Gathered:
        """Ask every worker; one that does not answer within a second, or is down, is missing."""
        question = encode(Question(query))
        workers = self._supervisor.serving
        found = await asyncio.gather(*(self._ask(worker, question, ASK_S) for worker in workers.values()))
        answers = {
            str(slot): response.answers[""]
            for slot, response in zip(workers, found, strict=True)
            if response is not None
        }
        missing = [f"worker {slot}" for slot in range(self._supervisor.count) if str(slot) not in answers]
        return Gathered(answers, missing)

    async def everywhere(self, query: Query) -> Gathered:
        """Ask every worker, and have one ask all other processes that share the broker."""
        here, elsewhere = await asyncio.gather(self.here(query), self._elsewhere(query))
        if elsewhere is None:
            return Gathered(here.answers, [*here.missing, "other machines"])
        return Gathered({**here.answers, **elsewhere.answers}, [*here.missing, *elsewhere.missing])

    async def act(self, query: Query) -> Answer:
        """Ask the worker whose turn it is."""
        worker = self._next()
        if worker is None:
            raise ApiError(ApiErrorCode.NOT_READY, "No worker serves; try it again.")
        response = await self._ask(worker, encode(Question(query)), ACT_S)
        if response is None:
            raise ApiError(ApiErrorCode.UNKNOWN_OUTCOME, "The worker did not answer; nobody knows whether it is done.")
        return done(response.answers[""])

    async def _elsewhere(self, query: Query) -> Response | None:
        worker = self._next()
        if worker is None:
            return None
        own = [known.process for known in self._supervisor.serving.values()]
        return await self._ask(worker, encode(Question(query, elsewhere=True, without=own)), ELSEWHERE_S)

    def _next(self) -> WorkerProcess | None:
        serving = list(self._supervisor.serving.values())
        workers = [worker for worker in serving if not worker.questions.is_late] or serving
        self._turn += 1
        return workers[self._turn % len(workers)] if workers else None

    async def _ask(self, worker: WorkerProcess, question: bytes, within_s: float) -> Response | None:
        try:
            response: Response = decode_response(await worker.questions.ask(question, within_s))
        except (TimeoutError, WorkerGoneError, msgspec.DecodeError):
            return None
        return response

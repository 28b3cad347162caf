"""A supervisor's side of the operations port: what it is asked, it asks its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

import msgspec

from wscore.operations import ApiErrorCode
from wsserver.operations.asking import Gathered, Question, Response, decode_response, done
from wsserver.operations.problems import ApiError
from wsserver.operations.queries import Answer, Query, ReadHistory, encode
from wsserver.workers.process import WorkerProcess
from wsserver.workers.questions import FrameTooLargeError, NotAskedError, WorkerGoneError
from wsserver.workers.supervisor import Supervisor

ASK_S: Final = 1.0
ELSEWHERE_S: Final = 1.5  # of one that asks others for a second itself
ACT_S: Final = 15.0  # longer than a broker may keep a publish waiting
NO_ANSWER: Final = (TimeoutError, WorkerGoneError, msgspec.DecodeError, RecursionError)


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
        question = encode(Question(query))
        tried: set[WorkerProcess] = set()
        while (worker := self._next(tried)) is not None:
            tried.add(worker)
            try:
                response: Response = decode_response(await worker.questions.ask(question, ACT_S))
            except NotAskedError:
                continue  # another may do it
            except FrameTooLargeError:
                raise ApiError(ApiErrorCode.TOO_LARGE, "This is too much for one request.") from None
            except NO_ANSWER:
                raise _unanswered(query) from None
            return done(response.answers[""])
        raise ApiError(ApiErrorCode.NOT_READY, "No worker takes it; try it again.")

    async def _elsewhere(self, query: Query) -> Response | None:
        worker = self._next()
        if worker is None:
            return None
        own = [known.process for known in self._supervisor.serving.values()]
        return await self._ask(worker, encode(Question(query, elsewhere=True, without=own)), ELSEWHERE_S)

    def _next(self, without: Collection[WorkerProcess] = ()) -> WorkerProcess | None:
        serving = [w for w in self._supervisor.serving.values() if w.questions.is_open and w not in without]
        workers = [worker for worker in serving if not worker.questions.is_late] or serving
        self._turn += 1
        return workers[self._turn % len(workers)] if workers else None

    async def _ask(self, worker: WorkerProcess, question: bytes, within_s: float) -> Response | None:
        try:
            response: Response = decode_response(await worker.questions.ask(question, within_s))
        except (FrameTooLargeError, *NO_ANSWER):
            return None
        return response


def _unanswered(query: Query) -> ApiError:
    if isinstance(query, ReadHistory):
        return ApiError(ApiErrorCode.NOT_READY, "The worker did not answer; try it again.")
    return ApiError(ApiErrorCode.UNKNOWN_OUTCOME, "The worker did not answer; nobody knows whether it is done.")

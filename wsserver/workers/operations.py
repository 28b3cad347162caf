"""A supervisor's side of the operations port: what it is asked, it asks its workers."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from wsserver.operations.asking import Gathered, Question
from wsserver.operations.queries import Answer, Query, decode_answer, encode
from wsserver.workers.process import WorkerProcess
from wsserver.workers.questions import WorkerGoneError
from wsserver.workers.supervisor import Supervisor

ASK_S: Final = 1.0


class OwnWorkers:
    """The workers of a supervisor, each asked over a pair of sockets of its own."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def here(self, query: Query) -> Gathered:
        """Ask every worker; one that does not answer within a second, or is down, is missing."""
        question = encode(Question(query))
        workers = self._supervisor.serving
        found = await asyncio.gather(*(self._ask(worker, question, ASK_S) for worker in workers.values()))
        answers = {str(slot): answer for slot, answer in zip(workers, found, strict=True) if answer is not None}
        missing = [f"worker {slot}" for slot in range(self._supervisor.count) if str(slot) not in answers]
        return Gathered(answers, missing)

    async def _ask(self, worker: WorkerProcess, question: bytes, within_s: float) -> Answer | None:
        try:
            answer: Answer = decode_answer(await worker.questions.ask(question, within_s))
        except (TimeoutError, WorkerGoneError, msgspec.DecodeError):
            return None
        return answer

"""The caller's turns, answered one after the other in the order in which they began."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from wscore.audio import AudioFormat
from wscore.codes import ErrorCode
from wscore.payloads import Transcript
from wsserver.voice.answer import Answer
from wsserver.voice.callerchannel import CallerChannel
from wsserver.voice.conversation import Conversation
from wsserver.voice.pipeline import Pipeline, Tasks
from wsserver.voice.stagecalls import problem_of
from wsserver.voice.stages import Role, StageError
from wsserver.voice.timing import TurnTimes
from wsserver.voice.utterance import Utterance

NOT_UNDERSTOOD: Final = "Could not understand audio. Please try again."
MAX_WAITING_TURNS: Final = 4  # being recognised at once; then the hearing waits for the oldest one


class SessionNumbers:
    """Numbers the turns and answers of all callers of a session, who get to know each other's."""

    __slots__ = ("_answers", "_turns", "callers")

    def __init__(self) -> None:
        self._turns = self._answers = 0
        self.callers = 0

    def turn_id(self) -> str:
        """Return the id of the next turn."""
        self._turns += 1
        return f"t{self._turns}"

    def response_id(self) -> str:
        """Return the id of the next answer."""
        self._answers += 1
        return f"r{self._answers}"


@dataclass(frozen=True, slots=True)
class CallerTurn:
    """What a caller said or typed."""

    id: str
    said: Utterance | str
    times: TurnTimes = field(default_factory=TurnTimes)


class Answering:
    """Waits for each turn's text and answers it; a new text ends the answer before it."""

    __slots__ = (
        "_answer",
        "_channel",
        "_conversation",
        "_format",
        "_numbers",
        "_pipeline",
        "_tasks",
        "_timeout_s",
        "_turns",
    )

    def __init__(
        self,
        pipeline: Pipeline,
        channel: CallerChannel,
        tasks: Tasks,
        form: Callable[[], AudioFormat],
        timeout_s: float,
        numbers: SessionNumbers,
    ) -> None:
        self._pipeline = pipeline
        self._channel = channel
        self._tasks = tasks
        self._format = form
        self._timeout_s = timeout_s
        self._turns = asyncio.Queue[CallerTurn](MAX_WAITING_TURNS)
        self._conversation = Conversation()
        self._answer: Answer | None = None
        self._numbers = numbers

    async def add(self, turn: CallerTurn) -> None:
        """Take a turn that begins; waits while too many have no text yet."""
        await self._turns.put(turn)

    def interrupt(self, response_id: str | None = None, played_ms: int | None = None) -> None:
        """End the answer that is made or plays now; nothing if there is none, or it is another one."""
        answer = self._answer
        if answer is not None and response_id in (None, answer.id):
            answer.cancel(played_ms)

    async def finish_unheard(self, timeout_s: float) -> None:
        """Let the answer that is made now be finished as text, for a caller who is lost; nothing if there is none."""
        if self._answer is not None and not self._answer.has_ended:
            await self._answer.finish_unheard(timeout_s)

    async def run(self) -> None:
        """Answer turns for as long as the caller is there."""
        while True:
            turn = await self._turns.get()
            try:
                if text := await self._text(turn):
                    await self._begin(turn, text)
            except Exception as error:  # a fault of this code costs a turn, not all that follow
                self._channel.failed(StageError("answer", problem_of(error)), turn.id)

    async def _text(self, turn: CallerTurn) -> str | None:
        if isinstance(turn.said, str):
            return turn.said
        try:
            text = await turn.said.text()
        except StageError as error:
            self._channel.failed(error, turn.id)
            return None
        if text is None:
            return None
        turn.times.text_s = self._pipeline.now_s()
        if text:
            self._channel.send("transcript", Transcript(text, True, turn.id))
        else:
            self._channel.error(ErrorCode.ASR_ERROR, NOT_UNDERSTOOD, {"turnId": turn.id})
        return text

    async def _begin(self, turn: CallerTurn, text: str) -> None:
        if self._answer is not None:
            self._answer.cancel()
            await self._answer.gone(self._timeout_s)
        self._conversation.add(Role.USER, text)
        self._answer = Answer(
            self._numbers.response_id(),
            turn.id,
            turn.times,
            self._pipeline,
            self._conversation,
            self._channel,
            self._format(),
            self._tasks,
        )

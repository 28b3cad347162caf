"""The responder rules: no language model, a handful of patterns in English that show that a pipeline works.

It knows the time and the date of the server, sums, and how to greet; anything else it repeats.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from wscore.wallclock import now_ms
from wsserver.voice.backends.arithmetic import NotASumError, SumError, work_out
from wsserver.voice.stages import Said

NAME: Final = "rules"
HELP: Final = "I know the time, the date and sums. Anything else I repeat."

_TIME: Final = re.compile(r"\b(?:what time|what's the time|(?:tell me|what is|know) the time|current time)\b")
_DAY: Final = re.compile(
    r"\b(?:what day|which day|what date|the date|(?:today|tomorrow|yesterday)'s date|what (?:is|was) "
    r"(?:today|tomorrow|yesterday))\b"
)
_DAYS: Final = {"yesterday": ("Yesterday was", -1), "tomorrow": ("Tomorrow is", 1)}
_QUESTION: Final = re.compile(r"(?:what is|what's|whats|how much is|calculate|compute|work out|tell me)\s+")
_HELP: Final = re.compile(r"(?:please )?help(?: me)?|what can you do|what do you know|who are you")
_SMALL_TALK: Final = (
    (re.compile(r"(?:hello|hi|hey|good (?:morning|afternoon|evening))(?: there)?"), "Hello. What can I do for you?"),
    (re.compile(r"(?:thank you|thanks)(?: very much| a lot)?"), "You are welcome."),
    (re.compile(r"(?:good ?bye|bye|bye bye|see you|good night)"), "Goodbye."),
)


class RuleResponder:
    """Answers the last entry of a conversation by rules; `now` gives the time, with the zone to tell it in."""

    def __init__(
        self, now: Callable[[], datetime] = lambda: datetime.fromtimestamp(now_ms() / 1000).astimezone()
    ) -> None:
        self._now = now

    @property
    def name(self) -> str:
        """As the command line writes it."""
        return NAME

    async def open(self) -> None:
        """Nothing is needed."""

    async def close(self) -> None:
        """Nothing is held."""

    async def respond(self, history: Sequence[Said]) -> AsyncIterator[str]:
        """Yield the answer, all at once."""
        yield self._answer(history[-1].text)

    def _answer(self, text: str) -> str:
        said = re.sub(r"\s+", " ", text.lower().replace("’", "'")).strip(" .,!?=")
        if _TIME.search(said):
            now = self._now()
            return f"It is {now.hour % 12 or 12}:{now.minute:02} {'AM' if now.hour < 12 else 'PM'}."
        if _DAY.search(said):
            return self._day(said)
        for pattern, answer in (*_SMALL_TALK, (_HELP, HELP)):
            if pattern.fullmatch(said):
                return answer
        try:
            return f"That is {work_out(_QUESTION.sub('', said, count=1))}."
        except SumError as error:
            return str(error)
        except NotASumError:
            return f"You said: {text.strip()}"

    def _day(self, said: str) -> str:
        beginning, days = next((told for word, told in _DAYS.items() if word in said), ("Today is", 0))
        day = self._now() + timedelta(days=days)
        return f"{beginning} {day:%A}, {day:%B} {day.day}, {day.year}."

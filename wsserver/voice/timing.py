"""When each step of a turn happened, by the monotonic clock, and what `metrics` says of it."""

from __future__ import annotations

from dataclasses import dataclass

from wscore.payloads import TurnMetrics


@dataclass(slots=True)
class TurnTimes:
    """Monotonic seconds; None for what has not happened, or never does: a typed turn was not heard.

    `text_s` is the final transcript's time, for a typed turn that of its arrival.
    """

    speech_ended_s: float | None = None
    decided_s: float | None = None
    text_s: float | None = None
    first_text_s: float | None = None
    first_sentence_s: float | None = None
    first_audio_s: float | None = None

    def metrics(self, turn_id: str) -> TurnMetrics:
        """Return how long the steps took that have happened."""
        begin_s = self.text_s if self.speech_ended_s is None else self.speech_ended_s
        return TurnMetrics(
            turn_id,
            _ms(self.speech_ended_s, self.decided_s),
            _ms(self.decided_s, self.text_s),
            _ms(self.text_s, self.first_text_s),
            _ms(self.first_sentence_s, self.first_audio_s),
            _ms(begin_s, self.first_audio_s),
        )


def _ms(start_s: float | None, end_s: float | None) -> int | None:
    return None if start_s is None or end_s is None else round((end_s - start_s) * 1000)

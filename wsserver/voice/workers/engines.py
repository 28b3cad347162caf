"""The child side of a worker: the plain synchronous classes that a pool loads in its processes.

`Pool("whisper", "wsserver.voice.backends.whisper:WhisperEngine", {"threads": 1})` makes each worker process import that
module and call `WhisperEngine(threads=1)` once. Then, for each `await pool.start()`, the worker calls `engine.start()`
and for each `await stream.call("feed", pcm)` of it `session.call("feed", pcm)`. One worker makes one call at a time, in
the order in which they arrive, so an engine needs no locks, and may block as long as the pool's timeout allows.

What may be raised, in `start` and `call` alike:

- `StageError(stage, problem)`: the caller gets exactly this `problem`.
- any other `Exception`: the caller gets a StageError that names the exception's type. Its text goes nowhere, since it
  may quote what a caller said.

Both fail one call alone; the session and the worker go on. In an engine's constructor, `ConfigError` reaches whoever
opens the pool as it is, and so does ImportError as a ConfigError that says what to install.
"""

from __future__ import annotations

from typing import Protocol


class ModelSession(Protocol):
    """The child's end of one stream, with whatever it has to remember from call to call."""

    def call(self, op: str, payload: bytes) -> bytes:
        """Do what `op` names; operations and their payloads are between a backend and its engine."""

    def close(self) -> None:
        """Release what the stream holds; called once, at any moment between two calls, never after a lost worker."""


class ModelEngine(Protocol):
    """A loaded model; its constructor takes the pool's `arguments` by keyword."""

    def start(self) -> ModelSession:
        """Begin with a stream."""

"""Calls to backends: none may hang, and whatever one raises becomes a StageError that repeats nothing it was told."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import PurePath
from typing import TypeVar

from wsserver.voice.stages import StageError

T = TypeVar("T")


class StageCalls:
    """Every await of a stage goes through here; one that makes no progress for `timeout_ms` fails."""

    __slots__ = ("_timeout_ms",)

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms

    async def call(self, stage: str, work: Awaitable[T]) -> T:
        """Return what `work` does; raises StageError."""
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                return await work
        except TimeoutError:
            raise StageError(stage, f"made no progress for {self._timeout_ms} ms") from None
        except StageError:
            raise
        except Exception as error:  # a backend may raise anything
            raise StageError(stage, problem_of(error)) from None

    async def stream(self, stage: str, start: Callable[[], AsyncIterator[T]]) -> AsyncGenerator[T, None]:
        """Yield what the iterator that `start` returns does, and close it in the end; raises StageError."""
        end: T | None = None
        try:
            pieces = start()
        except Exception as error:  # a backend may raise anything
            raise StageError(stage, problem_of(error)) from None
        try:
            while (piece := await self.call(stage, anext(pieces, end))) is not None:
                yield piece
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                with suppress(StageError):  # its work is over, well or not
                    await self.call(stage, close())


def problem_of(error: BaseException) -> str:
    """Return where an exception comes from; its own text may hold what a caller said, or a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"

"""What becomes of whatever an app's code raises: a count, a log line, an answer, and for an exit an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from wscore.codes import ErrorCode
from wscore.envelope import UnsendableError
from wsserver.connections.rooms import RoomLimitError
from wsserver.sdk.errors import AppError, AppErrorCode
from wsserver.telemetry.logs import EventLog
from wsserver.telemetry.metrics import Metrics

ExitRequest = SystemExit | KeyboardInterrupt


class FailedCall(Protocol):
    """The call of an app's code that failed: the Context of a handler or a hook."""

    type: str | None

    @property
    def connection_id(self) -> str:
        """Whose message it handled."""

    def error(
        self, code: ErrorCode | AppErrorCode, message: str = "", details: dict[str, object] | None = None
    ) -> bool:
        """Tell the sender."""


class Failures:
    """Takes every exception of handlers, hooks and background tasks; `leave` ends the server in order."""

    __slots__ = ("_leave", "_log", "_metrics")

    def __init__(self, metrics: Metrics, log: EventLog, leave: Callable[[ExitRequest], None]) -> None:
        self._metrics = metrics
        self._log = log
        self._leave = leave

    def handler(self, context: FailedCall, error: BaseException) -> None:
        """A handler or a hook failed: its sender is told, and learns nothing of the cause.

        An AppError is no failure but an answer; one that cannot be sent is. So is a room too many, which a client can
        bring about.
        """
        if isinstance(error, RoomLimitError):
            context.error(error.code, str(error), error.details)
            return
        if isinstance(error, AppError):
            try:
                context.error(error.code, error.message, error.details)
                return
            except (UnsendableError, TypeError) as unsendable:
                error = unsendable
        self._metrics.handlers_failed.value += 1
        self._log.failure("handler.failed", error, type=context.type, connection=context.connection_id)
        context.error(ErrorCode.PROCESSING_ERROR, "The server failed to process the message.")
        self._exit(error)

    def handler_cancelled(self, context: FailedCall) -> None:
        """A handler was cut short: its client is gone, or the server's end has come."""
        self._metrics.handlers_cancelled.value += 1
        self._log.debug("handler.cancelled", type=context.type, connection=context.connection_id)

    def connecting(self, error: BaseException) -> None:
        """A connecting hook failed, or took too long: its client is turned away by whoever asked it."""
        self._metrics.handlers_failed.value += 1
        self._log.failure("connecting.failed", error)
        self._exit(error)

    def task(self, name: str, error: BaseException) -> None:
        """A background task died."""
        self._metrics.tasks_failed.value += 1
        self._log.failure("task.failed", error, task=name)
        self._exit(error)

    def _exit(self, error: BaseException) -> None:
        if isinstance(error, ExitRequest):
            self._leave(error)


def ends_the_caller(error: BaseException) -> bool:
    """Tell whether an exception is no failure: it ends the program, or the task that it was raised in was cancelled."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit))


def is_thrown_away() -> bool:
    """Tell whether a GeneratorExit comes from nobody: its task is thrown away together with its event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False

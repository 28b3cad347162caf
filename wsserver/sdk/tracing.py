"""Spans of OpenTelemetry for an app's handlers: each call has one of its own, with a link to whoever sent the message.

What is sent within a span names it, so that who handles that can link to it.
Its API alone is imported, and only for an app that asks for spans.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, Final

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context as TraceContext
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from wscore.envelope import MessageProtocol, OutboundEnvelope
from wscore.messages import RESERVED_TYPES
from wsserver.sdk.context import Context
from wsserver.sdk.errors import AppError
from wsserver.sdk.handlers import Handler, is_awaited

_PROPAGATOR: Final = TraceContextTextMapPropagator()


class HandlerTracing:
    """Makes spans with a provider, or the one that is set for the whole process."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._tracer = trace.get_tracer("wsctl", tracer_provider=provider)

    def traced(self, type: str, handler: Handler) -> Handler:
        """Return a handler that does the same, within a span."""
        function: Any = handler.function

        def run(context: Context, *data: object) -> object:
            span = self._start(type, context)
            is_over = True
            try:
                with _within(span):
                    result = function(context, *data)
                    if result is not None and is_awaited(result):
                        is_over = False
                        return _finish(span, result)
                return result
            finally:
                if is_over:
                    span.end()

        traced = copy(handler)
        traced.function = run
        return traced

    def _start(self, type: str, context: Context) -> Span:
        """Begin a trace: what the sender does goes on for as long as it likes, so this is no part of that."""
        links = []
        if context.traceparent is not None:
            carrier = {"traceparent": context.traceparent}
            sender = trace.get_current_span(_PROPAGATOR.extract(carrier, TraceContext()))
            links.append(Link(sender.get_span_context()))
        return self._tracer.start_span(
            f"process {type}", TraceContext(), SpanKind.CONSUMER, {"messaging.system": "wsctl"}, links
        )


class TracedProtocol(MessageProtocol):
    """Makes envelopes of which those of the app's own types carry the span that they are made in, if there is one."""

    __slots__ = ()

    def create_envelope(
        self,
        type: str,
        data: object = msgspec.UNSET,
        session_id: str | None = None,
        *,
        id: str | None = None,
        room: str | None = None,
        user_id: str | None = None,
    ) -> OutboundEnvelope:
        """Build an envelope as MessageProtocol does."""
        envelope = super().create_envelope(type, data, session_id, id=id, room=room, user_id=user_id)
        if type not in RESERVED_TYPES:
            carrier: dict[str, str] = {}
            _PROPAGATOR.inject(carrier)
            envelope.traceparent = carrier.get("traceparent", msgspec.UNSET)
        return envelope


async def _finish(span: Span, result: Awaitable[object]) -> object:
    try:
        with _within(span):
            return await result
    finally:
        span.end()


@contextmanager
def _within(span: Span) -> Iterator[None]:
    """Have a span be the current one; of a failure it says the type, since its text may quote what a client sent."""
    try:
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            yield
    except AppError:
        raise  # an answer, not a failure
    except BaseException as error:
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise

"""The API: requests become what the rows of the table ask, their answers become JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wscore.operations import ActResult, ApiErrorCode, BatchResult, BroadcastResult, ErrorBody, TargetResult
from wsserver.operations.accesskeys import Right
from wsserver.operations.asking import Operations
from wsserver.operations.port.acting import Acting
from wsserver.operations.port.idempotency import RETRYABLE, Idempotency, Kept
from wsserver.operations.port.looking import Looking
from wsserver.operations.port.reading import Bodies, parameters, parsed, while_wanted
from wsserver.operations.port.replies import JSON_HEADERS, check_unsent, encode, reply
from wsserver.operations.port.table import ROWS, ApiRoute
from wsserver.operations.problems import STATUS, ApiError
from wsserver.telemetry.logs import EventLog

IDEMPOTENCY_KEY: Final = "idempotency-key"


class HttpApi:
    """Answers the requests of the API."""

    def __init__(self, operations: Operations, log: EventLog) -> None:
        self._acting = Acting(operations, log)
        self._looking = Looking(operations)
        self._bodies = Bodies()
        self._idempotency = Idempotency(asyncio.get_running_loop().time)

    def routes(self) -> Iterator[Route]:
        """Yield a route for each row."""
        for row in ROWS:
            yield Route(row.path, self._endpoint(row), methods=[row.method])

    def _endpoint(self, row: ApiRoute) -> Any:
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row.asks)

        async def look(request: Request) -> Response:
            asked: Any = parameters(request, row.asks)  # type: ignore[type-var]
            answer = reply(await while_wanted(request, row.call(self._looking, asked)))
            check_unsent(request, len(answer.body))
            return answer

        async def act(request: Request) -> Response:
            operator = request.scope["operator"]
            if not operator.may_act:
                self._acting.refuse(operator, row.name)
                raise ApiError(ApiErrorCode.FORBIDDEN, "This key may look, and change nothing.")
            if not row.has_body:
                return reply(await row.call(self._acting, operator, parameters(request, row.asks)))  # type: ignore[type-var]
            body = await self._bodies.read(request)
            try:
                asked = parsed(body, decoder)
                await asyncio.sleep(0)  # what is much takes a turn of the event loop to read, and more to do

                async def run() -> Kept:
                    answer = await row.call(self._acting, operator, asked)
                    return Kept(HTTPStatus.OK, encode(answer), _may_be_retried(answer))

                keys = request.headers.getlist(IDEMPOTENCY_KEY)
                if not keys:
                    kept = await run()
                elif len(keys) > 1:
                    raise ApiError(ApiErrorCode.INVALID_REQUEST, "There is more than one Idempotency-Key.")
                else:
                    kept = await self._idempotency.once(operator.name, row.path, keys[0], body, run, _kept)
            finally:
                self._bodies.release(body)
            return Response(kept.body, kept.status, JSON_HEADERS)

        return look if row.right is Right.READ else act


def _kept(error: ApiError) -> Kept:
    return Kept(STATUS[error.problem.code], encode(ErrorBody(error.problem)), error.problem.code in RETRYABLE)


def _may_be_retried(answer: object) -> bool:
    """Tell whether nothing of an act was done, in no row of it, and may be done at the next try."""
    if isinstance(answer, ActResult):
        return _may_be_retried(answer.broadcast) if answer.error is None else answer.error.code in RETRYABLE
    if isinstance(answer, TargetResult):
        return answer.error is not None and answer.error.code in RETRYABLE
    return isinstance(answer, BroadcastResult | BatchResult) and all(map(_may_be_retried, answer.results))

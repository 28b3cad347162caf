"""The routes of the operations port, behind its door."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from wscore.exposition import OPENMETRICS, TEXT
from wscore.operations import ApiErrorCode, Problem
from wsserver.operations.asking import Operations
from wsserver.operations.families import exposition, format_for
from wsserver.operations.keyring import KeyRing
from wsserver.operations.port.api import HttpApi
from wsserver.operations.port.door import Door
from wsserver.operations.port.openapi import document
from wsserver.operations.port.reference import POLICY, html
from wsserver.operations.port.refusals import Refusals
from wsserver.operations.port.replies import page, refusal, reply, text
from wsserver.operations.port.shared import Shared
from wsserver.operations.port.table import PREFIX
from wsserver.operations.problems import FAILED, ApiError
from wsserver.operations.queries import Readiness, ReadinessAnswer, Scrape, ScrapeAnswer
from wsserver.telemetry.logs import EventLog

HEALTH: Final = "/healthz"
READINESS: Final = "/readyz"
METRICS: Final = "/metrics"
OPEN: Final = (HEALTH, READINESS)  # a probe has no key, and learns no names


def port_app(operations: Operations, keys: KeyRing | None, log: EventLog) -> ASGIApp:
    """Return the application that the port serves."""
    probes = _Probes(operations)
    api = HttpApi(operations, log)
    routes = [
        *api.routes(),
        Route(HEALTH, probes.health),
        Route(READINESS, probes.readiness),
        Route(METRICS, probes.metrics),
        Route(PREFIX, _page),
        Route(f"{PREFIX}/openapi.json", _openapi),
    ]
    return _Guarded(Starlette(routes=routes), Door(keys, log), log)


async def _openapi(request: Request) -> Response:
    return reply(document())


async def _page(request: Request) -> Response:
    return page(html(document()), POLICY)


class _Probes:
    """What watches the server, and changes nothing."""

    def __init__(self, operations: Operations) -> None:
        self._ready = Shared(partial(operations.here, Readiness()))
        self._operations = operations
        self._exposed = {kind: Shared(partial(self._expose, kind)) for kind in (TEXT, OPENMETRICS)}

    async def health(self, request: Request) -> Response:
        """Say that the process lives: it answers."""
        return text("ok\n")

    async def readiness(self, request: Request) -> Response:
        """Say whether there is a process that takes newcomers, as `/healthz` of the public port does for its own."""
        gathered = await self._ready.get()
        answers = [answer for answer in gathered.answers.values() if isinstance(answer, ReadinessAnswer)]
        if any(answer.is_ready for answer in answers):
            return text("ready\n")
        problems = sorted({answer.problem for answer in answers if answer.problem})
        why = f": {'; '.join(problems)}" if problems else ""
        return text(f"not ready{why}\n", HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(self, request: Request) -> Response:
        """Return what all processes of this server have counted."""
        content_type = format_for(request.headers.get("accept", ""))
        body = await self._exposed[content_type].get()
        return Response(body, headers={"Cache-Control": "no-store"}, media_type=content_type)

    async def _expose(self, content_type: str) -> bytes:
        gathered = await self._operations.here(Scrape())
        families = {name: a.families for name, a in gathered.answers.items() if isinstance(a, ScrapeAnswer)}
        return exposition(families, gathered.missing, content_type)


class _Guarded:
    """Lets nobody past who may not, and answers with an error of the API whatever is raised behind it."""

    def __init__(self, app: Starlette, door: Door, log: EventLog) -> None:
        app.router.redirect_slashes = False  # to whatever Host a client says
        self._app = app
        self._door = door
        self._log = log
        self._refusals = Refusals(log)
        app.add_exception_handler(HTTPException, _http_error)
        app.add_exception_handler(ApiError, _api_error)
        app.add_exception_handler(Exception, _failed)  # which answers, and raises it again

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        answer: ASGIApp = self._app
        try:
            if scope["path"] not in OPEN:
                scope["operator"] = self._door.admit(scope)
        except ApiError as error:
            answer = refusal(error.problem)
            self._refusals.add(scope["client"][0] if scope.get("client") else "", error.problem.code)
        started = False

        async def sending(message: object) -> None:
            nonlocal started
            started = True
            await send(message)  # type: ignore[arg-type]

        try:
            await answer(scope, receive, sending)
        except ClientDisconnect:
            return  # nobody waits for an answer
        except Exception as error:
            self._log.failure("ops.failed", error, path=scope["path"])
            if not started:
                await refusal(Problem(ApiErrorCode.INTERNAL, FAILED))(scope, receive, send)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return refusal(Problem(ApiErrorCode.METHOD_NOT_ALLOWED, "This is not how it is asked for."))
    return refusal(Problem(ApiErrorCode.NOT_FOUND, "There is nothing at this path."))


async def _failed(request: Request, error: Exception) -> Response:
    return refusal(Problem(ApiErrorCode.INTERNAL, FAILED))


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return refusal(error.problem)

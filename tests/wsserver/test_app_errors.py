"""Error codes of an app's own: declared, sent, raised, and refused where nobody has declared them."""

from __future__ import annotations

import logging

import pytest

from wsclient import Client, ServerError
from wscore.errors import ConfigError
from wsserver import App, AppError, Context, ErrorCode

HANG_S = 20


def game() -> App:
    app = App()
    not_your_turn = app.error("NOT_YOUR_TURN", "It is not your turn.")
    busy = app.error("TABLE_BUSY", retryable=True)

    @app.on("move")
    def move(ctx: Context, square: int) -> None:
        raise not_your_turn(details={"square": square})

    @app.on("move.slowly")
    async def move_slowly(ctx: Context) -> None:
        raise busy("Bob thinks.")

    @app.on("peek")
    def peek(ctx: Context) -> None:
        ctx.error(not_your_turn)

    @app.on("admin")
    def admin(ctx: Context) -> None:
        raise AppError(ErrorCode.FORBIDDEN, "Only an admin.")

    @app.on("undeclared")
    def undeclared(ctx: Context) -> None:
        raise AppError("NEVER_DECLARED")

    @app.on("unsendable")
    async def unsendable(ctx: Context) -> None:
        raise not_your_turn(details={"at": object()})

    return app


async def refusal(client: Client, type: str, data: object = None) -> ServerError:
    with pytest.raises(ServerError) as caught:
        await client.request(type, data, timeout_s=HANG_S)
    return caught.value


async def test_what_a_handler_raises_or_sends_by_a_declared_code_reaches_its_client_as_that(
    start_server, engine, caplog
):
    server = await start_server(game(), engine=engine)
    with caplog.at_level(logging.DEBUG, "wsctl"):
        async with Client(server.url) as client:
            error = await refusal(client, "move", 7)
            assert (error.code, error.message, error.retryable) == ("NOT_YOUR_TURN", "It is not your turn.", False)
            assert error.details == {"square": 7}
            error = await refusal(client, "move.slowly")
            assert (error.code, error.message, error.retryable) == ("TABLE_BUSY", "Bob thinks.", True)
            assert (await refusal(client, "peek")).message == "It is not your turn."
            assert (await refusal(client, "admin")).code == "FORBIDDEN"
    assert not [record for record in caplog.records if record.message == "handler.failed"]
    assert server.metrics.value("wsctl_errors_total", code="NOT_YOUR_TURN") == 2
    assert server.metrics.value("wsctl_handlers_failed_total") == 0


@pytest.mark.parametrize("type", ["undeclared", "unsendable"])
async def test_an_error_that_cannot_be_sent_is_a_failure_of_the_handler(start_server, type):
    server = await start_server(game())
    async with Client(server.url) as client:
        assert (await refusal(client, type)).code == "PROCESSING_ERROR"
    assert server.metrics.value("wsctl_handlers_failed_total") == 1


@pytest.mark.parametrize("code", ["not_your_turn", "1ST", "", "A" * 65, "FORBIDDEN"])
def test_a_code_that_cannot_be_declared_is_refused_at_once(code):
    with pytest.raises(ConfigError):
        App().error(code, "no")


def test_a_code_is_declared_once():
    app = App()
    app.error("NOT_YOUR_TURN", "It is not your turn.")
    with pytest.raises(ConfigError, match=r"declared already: 'It is not your turn\.'"):
        app.error("NOT_YOUR_TURN", "Wait.")

"""The table of disconnects: complete, found for every exception, and the only place where a code meets its text."""

from __future__ import annotations

import ast

import pytest

from tests.pages import ROOT
from wscore import disconnects
from wscore.codes import CLOSES, CloseCode, ErrorCode
from wscore.disconnects import (
    CLOSED_BY_APP,
    DISCONNECTS,
    INTERNAL_ERROR,
    KICKED,
    SERVER_FULL,
    TOKEN_REFUSED,
    DisconnectError,
    app_disconnect,
    disconnect_of,
    parser_disconnect,
)
from wscore.principal import AuthError

# What the server does with close codes besides ending a connection: what came from a peer, and what an app may choose.
NEVER_SENT = {"ABNORMAL", "NO_STATUS"}
NOT_OURS = {
    "wsserver/engines/picows.py": {"NORMAL"},
    "wsserver/sdk/context.py": {"NORMAL"},
    "wsserver/sdk/hub.py": {"KICKED"},
    "wsserver/operations/acts.py": {"KICKED"},
}


@pytest.mark.parametrize("row", DISCONNECTS.values(), ids=DISCONNECTS)
def test_every_row_has_what_a_client_and_an_operator_need(row):
    assert DISCONNECTS[row.name] is row
    assert row.name == row.name.lower().replace("_", "-").replace(" ", "-")
    assert row.meaning.endswith(".")
    assert row.action is CLOSES[CloseCode(row.close_code)].action
    assert len(row.reason.encode()) <= 123  # RFC 6455 section 5.5


def test_every_constant_of_the_module_is_in_the_table():
    constants = [value for value in vars(disconnects).values() if isinstance(value, disconnects.Disconnect)]
    assert sorted(constant.name for constant in constants) == sorted(DISCONNECTS)


def test_the_server_names_its_disconnects_and_writes_no_close_code():
    for path in sorted(ROOT.glob("wsserver/**/*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        codes = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "CloseCode"
        }
        assert codes - NEVER_SENT == NOT_OURS.get(str(path.relative_to(ROOT)), set()), path
        made = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Disconnect"
        ]
        assert all(ast.unparse(node).startswith("Disconnect(int(self._random()") for node in made), (
            path
        )  # the message of that name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (ErrorCode.AUTH_REQUIRED, "token-missing"),
        (ErrorCode.AUTH_INVALID, "token-refused"),
        (ErrorCode.AUTH_EXPIRED, "token-expired"),
        (ErrorCode.SESSION_CREATE_FAILED, "session-refused"),
    ],
)
def test_a_refused_token_is_a_disconnect_with_its_error_and_its_reason(code, name):
    found = disconnect_of(AuthError(code, "The exact reason.", "the-rule"))
    assert (found.disconnect.name, found.disconnect.close_code, found.disconnect.error) == (name, 4001, code)
    assert (found.disconnect.reason, found.rule) == ("The exact reason.", "the-rule")


def test_a_disconnect_that_was_raised_stays_what_it_is():
    raised = DisconnectError(SERVER_FULL, "Too many connections in all.", "limit", mend="wait")
    assert disconnect_of(raised) is raised
    assert (raised.rule, raised.details) == ("limit", {"mend": "wait"})
    assert str(raised) == "server-full: Too many connections in all."
    assert DisconnectError(TOKEN_REFUSED).rule == "token-refused"


@pytest.mark.parametrize("error", [ValueError("a secret"), KeyError("x"), MemoryError()])
def test_any_other_exception_is_an_internal_error_that_tells_nothing_of_it(error):
    assert disconnect_of(error).disconnect is INTERNAL_ERROR


def test_an_app_closes_with_what_it_chose():
    chosen = app_disconnect(4321, "enough")
    assert (chosen.name, chosen.close_code, chosen.reason) == (CLOSED_BY_APP.name, 4321, "enough")
    kicked = app_disconnect(4004, "out")
    assert (kicked.name, kicked.close_code, kicked.reason) == (KICKED.name, 4004, "out")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1002, "protocol-error"),
        (1007, "invalid-utf8"),
        (1009, "message-too-big"),
        (1011, "internal-error"),
        (1008, "protocol-error"),
    ],
)
def test_what_a_library_closes_by_itself_has_a_name_too(code, name):
    named = parser_disconnect(code, "as it says")
    assert (named.name, named.reason) == (name, "as it says")

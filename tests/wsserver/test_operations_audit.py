"""Each act of an operator is one line of the log, also where it fails and where nobody knows what became of it."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from msgspec import Raw

from wscore.operations import ApiErrorCode
from wscore.revocations import Revocation
from wsserver.operations.acts import ActBatch, BroadcastMessage, EndConnections, PublishMessage, SendMessage
from wsserver.operations.asking import Gathered
from wsserver.operations.port.acting import MAX_PUBLISHED_BYTES, Acting
from wsserver.operations.port.door import Operator
from wsserver.operations.port.pages import HistoryTarget
from wsserver.operations.problems import ApiError
from wsserver.operations.queries import NotDone
from wsserver.telemetry.logs import EventLog

CI = Operator("ci", "10.0.0.7", may_act=True)
LARGE = Raw(b'"' + b"x" * (MAX_PUBLISHED_BYTES // 2) + b'"')


class Failing:
    """A server whose every answer is the same problem."""

    def __init__(self, code):
        self._error = ApiError(code, "It failed.")

    async def act(self, query):
        raise self._error

    async def everywhere(self, query):
        return Gathered({"0": NotDone(self._error.problem)}, [])


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "wsctl")

    def read():
        told = [record.fields for record in caplog.records if record.message == "ops.act"]
        caplog.clear()
        assert all((line["key"], line["peer"]) == ("ci", "10.0.0.7") for line in told)
        return [(line["act"], line["target"], line["result"], line.get("count")) for line in told]

    return read


def done(act):
    try:
        asyncio.run(act)
    except ApiError as error:
        return error.problem.code
    return None


@pytest.mark.parametrize("code", [ApiErrorCode.NOT_READY, ApiErrorCode.UNKNOWN_OUTCOME])
def test_an_act_that_fails_as_a_whole_is_noted_as_that(lines, code):
    acting = Acting(Failing(code), EventLog())
    many = BroadcastMessage("x", rooms=[f"r{number}" for number in range(11)])
    all_of_them = json.dumps([f"room:r{number}" for number in range(11)], separators=(",", ":"))
    for act, line in (
        (acting.publish(CI, PublishMessage("x", room="hall")), ("publish", "room:hall", None)),
        (acting.broadcast(CI, many), ("broadcast", all_of_them, 11)),
        (acting.send(CI, SendMessage("c1", "x")), ("send", "connection:c1", None)),
        (acting.disconnect(CI, EndConnections(user="ann")), ("disconnect", "user:ann", None)),
        (acting.revoke(CI, Revocation(jti="f3a1")), ("revoke", "jti:f3a1", None)),
        (acting.remove_history(CI, HistoryTarget(room="hall")), ("history.remove", "room:hall", None)),
    ):
        assert done(act) is code
        assert lines() == [(line[0], line[1], code, line[2])]
    batch = ActBatch([PublishMessage("x", user="ann"), many, EndConnections(room="hall")])
    assert done(acting.batch(CI, batch)) is None
    assert lines() == [
        ("publish", "user:ann", code, None),
        ("broadcast", all_of_them, code, 11),
        ("disconnect", "room:hall", code, None),
    ]


def test_what_is_too_large_to_be_begun_is_noted_too(lines):
    acting = Acting(Failing(ApiErrorCode.NOT_READY), EventLog())
    assert done(acting.broadcast(CI, BroadcastMessage("x", LARGE, rooms=["a", "b"]))) is ApiErrorCode.TOO_LARGE
    assert done(acting.batch(CI, ActBatch([PublishMessage("x", LARGE, room="a")] * 2))) is ApiErrorCode.TOO_LARGE
    assert lines() == [("broadcast", '["room:a","room:b"]', "TOO_LARGE", 2), ("batch", "", "TOO_LARGE", 2)]

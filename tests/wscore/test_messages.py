"""The table of message types: it agrees with itself, and what is derived from it holds where it is used."""

from __future__ import annotations

import json

import pytest

from wscore.envelope import MessageProtocol
from wscore.errors import ConfigError
from wscore.messages import MESSAGES, NOT_REPLAYED_TYPES, RESERVED_TYPES, Direction, Owner
from wsserver import App

each_type = pytest.mark.parametrize("spec", MESSAGES.values(), ids=lambda spec: spec.type)


@each_type
def test_a_row_explains_itself_and_names_only_rows_that_exist(spec):
    assert spec.explanation.strip()
    assert spec.answered_by is None or spec.answered_by in MESSAGES
    assert not (spec.lossy and spec.recoverable)


@each_type
def test_what_answers_comes_from_the_other_side(spec):
    if spec.answered_by is not None:
        assert spec.direction.from_client
        assert MESSAGES[spec.answered_by].direction is not Direction.CLIENT


@each_type
def test_an_app_may_handle_exactly_what_is_not_the_servers(spec):
    app = App()
    if spec.owner is Owner.SERVER:
        with pytest.raises(ConfigError, match="belongs to the server"):
            app.on(spec.type)
    else:
        app.on(spec.type)(lambda ctx: None)
        assert spec.type in app.handlers


def test_every_type_is_a_valid_type_of_an_envelope():
    for name in MESSAGES:
        frame = json.dumps({"type": name, "timestamp": 1}).encode()
        assert MessageProtocol.deserialize(frame).type == name


def test_a_replay_leaves_out_what_belongs_to_one_connection():
    assert {"pong", "auth_refresh"} <= NOT_REPLAYED_TYPES < RESERVED_TYPES

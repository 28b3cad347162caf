"""The code tables: complete, and true to what design section 2 has a client do."""

from __future__ import annotations

import pytest

from wscore.codes import CLOSES, ERRORS, Action, CloseCode, ErrorCode, close_action
from wscore.disconnects import DISCONNECTS

# The table of design section 2, written out again so that a change to the data has to be meant.
DESIGN = {
    1000: Action.STOP,
    1001: Action.RECONNECT,
    1003: Action.STOP,
    1007: Action.STOP,
    1008: Action.STOP,
    1009: Action.STOP,
    1011: Action.BACKOFF,
    1012: Action.BACKOFF,
    1013: Action.BACKOFF,
    4001: Action.NEW_TOKEN,
    4002: Action.RECONNECT,
    4003: Action.RESUME,
    4004: Action.STOP,
}


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_has_a_row(code):
    spec = ERRORS[code]
    assert spec.code is code
    assert spec.meaning.endswith(".")
    assert spec.remedy.endswith(".")


@pytest.mark.parametrize("code", CloseCode)
def test_every_close_code_has_a_row(code):
    spec = CLOSES[code]
    assert spec.code is code
    assert spec.name
    assert spec.meaning.endswith(".")
    assert spec.remedy.endswith(".")


def test_the_error_codes_of_the_seed_are_there_by_their_names():
    seed = "AUTH_REQUIRED AUTH_INVALID AUTH_EXPIRED SESSION_CREATE_FAILED INVALID_MESSAGE PROCESSING_ERROR ASR_ERROR"
    assert set(seed.split()) < set(ErrorCode)
    assert all(code.name == code.value for code in ErrorCode)


@pytest.mark.parametrize(("code", "action"), DESIGN.items())
def test_a_client_does_what_the_design_says(code, action):
    assert close_action(code) is action


@pytest.mark.parametrize("code", [1005, 1006, 1014])
def test_a_lost_connection_comes_back_with_backoff(code):
    assert close_action(code) is Action.BACKOFF


@pytest.mark.parametrize("code", [3000, 3999, 4000, 4900, 4999])
def test_an_unknown_application_code_means_stop(code):
    assert close_action(code) is Action.STOP


@pytest.mark.parametrize("code", [0, 999, 1004, 1016, 2999, 5000])
def test_any_other_unknown_code_means_backoff(code):
    assert close_action(code) is Action.BACKOFF


def test_no_refusal_of_a_token_is_retryable():
    refusals = {row.error for row in DISCONNECTS.values() if row.close_code == CloseCode.AUTH_FAILED}
    auth = {ErrorCode.AUTH_REQUIRED, ErrorCode.AUTH_INVALID, ErrorCode.AUTH_EXPIRED, ErrorCode.SESSION_CREATE_FAILED}
    assert refusals == auth
    assert not any(ERRORS[code].retryable for code in refusals)
    assert ERRORS[ErrorCode.PROCESSING_ERROR].retryable
    assert ERRORS[ErrorCode.RATE_LIMITED].retryable
    assert not ERRORS[ErrorCode.INVALID_MESSAGE].retryable

"""What a Redis refuses is told by its code, whichever version says it in whichever words."""

from __future__ import annotations

import hiredis
import pytest

from wsserver.brokers.redisscripts import refusal_code

IN_SCRIPT = "ERR Error running script (call to f_e7c77bf800b6537031861794499ce954cced7b8a): @user_script:3: "


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'. script: e7c77b, on @user_script:2.", "OOM"),
        (f"{IN_SCRIPT}@user_script: 3: -OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        (f"{IN_SCRIPT}@user_script: 3: -READONLY You can't write against a read only replica.", "READONLY"),
        (f"{IN_SCRIPT}WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE"),
        ("NOSCRIPT No matching script. Please use EVAL.", "NOSCRIPT"),
    ],
)
def test_what_is_refused_within_a_script_has_its_code_before_version_7_too(text, code):
    assert refusal_code(hiredis.ReplyError(text)) == code

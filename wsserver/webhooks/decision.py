"""What a backend answers about a client that wants to connect, and what becomes of it (docs/webhooks.md has its form).

What is not exactly in that form decides nothing: a field that is misspelt could be the one that refuses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from wscore.codes import ERRORS, ErrorCode
from wscore.envelope import InvalidMessageError, UnsendableError
from wscore.errors import ConfigError
from wscore.jsonvalues import has_many_large_exponents
from wscore.rooms import read_grants
from wscore.text import neutralise
from wsserver.connections.sessions import is_session_id
from wsserver.sdk.connecting import DEFAULT_VALID_S, ConnectRequest
from wsserver.sdk.datatypes import Reader, reader_of
from wsserver.sdk.errors import AppErrorCode

MAX_SHOWN: Final = 500  # characters of what a backend says to a client
MAX_SCOPES: Final = 64
MAX_SCOPE: Final = 128  # characters
MAX_VALID_MS: Final = 10 * 365 * 24 * 60 * 60 * 1000


class _Refusal(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    code: str = ErrorCode.FORBIDDEN.value
    message: str = ""
    close_code: int | None = None


class _Answer(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    refuse: _Refusal | UnsetType = UNSET
    user: str | UnsetType = UNSET
    is_guest: bool | UnsetType = UNSET
    valid_ms: int | UnsetType = UNSET
    session: str | UnsetType = UNSET
    scopes: list[str] | UnsetType = UNSET
    rooms: list[Any] | UnsetType = UNSET
    state: msgspec.Raw | UnsetType = UNSET


_decode: Final = msgspec.json.Decoder(_Answer).decode


class BadDecisionError(Exception):
    """An answer that decides nothing; it says why, and quotes nothing of it."""


def decide(body: bytes, asked: ConnectRequest, errors: Mapping[str, AppErrorCode]) -> None:
    """Do with a client what the answer says; raises AppError to refuse it, and BadDecisionError.

    `errors` are the codes that an app has declared.
    """
    try:
        answer = _decode(body)
    except RecursionError:
        raise BadDecisionError("it answered JSON that is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise BadDecisionError(f"it answered with {_problem(error)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadDecisionError("it answered what is no JSON") from None
    _check_names(body, answer)
    given = [name for name in answer.__struct_fields__ if getattr(answer, name) is not UNSET]
    if answer.refuse is not UNSET:
        if given != ["refuse"]:
            raise BadDecisionError("it refused and let in at once")
        _refuse(answer.refuse, asked, errors)
    _let_in(answer, asked)


def _check_names(body: bytes, answer: _Answer) -> None:
    """Raise BadDecisionError where a name is there twice, of which one reader takes the first, another the last.

    A state is left to the app that reads it, however large it is.
    """
    rest = body if answer.state is UNSET else body.replace(bytes(answer.state), b"0", 1)
    try:
        json.loads(rest, object_pairs_hook=_unique, parse_int=len)
    except (ValueError, RecursionError):
        raise BadDecisionError("it answered JSON that cannot be read in one way alone") from None


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise BadDecisionError("it answered with a field twice")


def _refuse(refusal: _Refusal, asked: ConnectRequest, errors: Mapping[str, AppErrorCode]) -> None:
    code = errors.get(refusal.code) or (ErrorCode(refusal.code) if refusal.code in ERRORS else None)
    if code is None:
        raise BadDecisionError("it refused with a code that does not exist")
    message = neutralise(refusal.message[:MAX_SHOWN])
    try:
        asked.refuse(message, code=code, close_code=refusal.close_code)
    except UnsendableError:
        raise BadDecisionError("it refused with a close code that cannot be sent") from None


def _let_in(answer: _Answer, asked: ConnectRequest) -> None:
    try:
        rooms = None if answer.rooms is UNSET else read_grants(answer.rooms)
    except (ValueError, TypeError, AttributeError):
        raise BadDecisionError("it answered with $.rooms wrong") from None
    session = None if answer.session is UNSET else answer.session
    if session is not None and not is_session_id(session):
        raise BadDecisionError("it answered with $.session wrong")
    scopes = frozenset[str]() if answer.scopes is UNSET else frozenset(answer.scopes)
    if len(scopes) > MAX_SCOPES or max(map(len, scopes), default=0) > MAX_SCOPE:
        raise BadDecisionError("it answered with $.scopes wrong")
    if answer.user is not UNSET:
        valid_ms = int(DEFAULT_VALID_S * 1000) if answer.valid_ms is UNSET else answer.valid_ms
        if not 0 < valid_ms <= MAX_VALID_MS:
            raise BadDecisionError("it answered with $.validMs wrong")
        try:
            asked.log_in(
                answer.user,
                valid_s=valid_ms / 1000,
                is_guest=answer.is_guest is True,
                session_id=session,
                scopes=scopes,
                rooms=rooms,
            )
        except ValueError:
            raise BadDecisionError("it answered with $.user wrong") from None
    elif answer.is_guest is not UNSET or answer.valid_ms is not UNSET:
        raise BadDecisionError("it answered with $.isGuest or $.validMs, and no $.user")
    elif (principal := asked.principal) is not None:
        asked.principal = replace(
            principal,
            session_id=principal.session_id if answer.session is UNSET else session,
            scopes=principal.scopes if answer.scopes is UNSET else scopes,
            rooms=principal.rooms if answer.rooms is UNSET else rooms,
        )
    if answer.state is not UNSET:
        _set_state(answer.state, asked)


def _set_state(raw: msgspec.Raw, asked: ConnectRequest) -> None:
    """Make what `ctx.state` will be: of the class that the app names for it, else an object with these attributes."""
    if has_many_large_exponents(bytes(raw)):
        raise BadDecisionError("it answered with a $.state of too many numbers with three digits in the exponent")
    kind: Any = type(asked.state)
    read = _state_reader(kind)
    try:
        if read is not None:
            asked.state = read(raw, None)
            return
        given = msgspec.json.decode(raw, type=dict[str, Any])
        for name, value in given.items():
            if not name.isidentifier() or name.startswith("_"):
                raise ValueError(name)
            setattr(asked.state, name, value)
    except (InvalidMessageError, msgspec.DecodeError, RecursionError, AttributeError, TypeError, ValueError):
        raise BadDecisionError("it answered with a $.state that does not fit App(state=…)") from None


@cache
def _state_reader(kind: Any) -> Reader | None:
    """Return what reads a class from JSON; None for one that is not read so, as a plain namespace is not."""
    try:
        return reader_of(kind, "state")
    except ConfigError:
        return None


def _problem(error: msgspec.ValidationError) -> str:
    """Return what is wrong, and nothing of the answer's own words."""
    problem, _, path = str(error).partition(" - at `")
    where = path.rstrip("`") or "$"
    return f"{where} wrong: {problem}" if problem.startswith("Expected") else f"a field in {where} that does not exist"

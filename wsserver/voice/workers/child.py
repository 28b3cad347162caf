"""What runs in a worker process: loads one engine and answers calls until its standard input closes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Final

from wscore.errors import ConfigError
from wscore.installation import install_line
from wsserver.voice.stages import StageError
from wsserver.voice.workers.engines import ModelEngine, ModelSession
from wsserver.voice.workers.wire import (
    LENGTH_BYTES,
    Call,
    Close,
    Done,
    Failed,
    LoadModel,
    Ready,
    Refused,
    Reply,
    Request,
    Start,
    WireError,
    body_length,
    decode_request,
    encode,
)

# The server's loop shares the cores with the workers, and must not wait for them.
NICENESS: Final = 10
# The pool kills a worker that is late; this much later it ends by itself, should the pool be gone.
MARGIN_S: Final = 1.0


def main() -> None:
    """Serve the pool at the other end of the standard streams."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's business, which then closes its pools
    requests, replies = _private_pipes()
    if sys.platform != "win32":
        os.nice(NICENESS)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # its default ends a process whatever native code is doing
    with contextlib.suppress(WireError, OSError):  # the pool is gone
        serve(requests, replies)
    os._exit(0)  # what native libraries do at exit only takes time


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more; raises WireError for what is none."""
    load = _read(requests)
    if not isinstance(load, LoadModel):
        return
    _limit(load.load_limit_s)
    engine = _load(load)
    _limit(0)
    if isinstance(engine, Refused):
        _write(replies, engine)
        return
    _write(replies, Ready())
    sessions: dict[int, ModelSession] = {}
    while (request := _read(requests)) is not None:
        _limit(load.call_limit_s)
        reply = _answer(engine, sessions, request)
        _limit(0)
        if reply is not None:
            _write(replies, reply)


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take the standard streams away, so that a library which prints does not garble the replies."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, replies


def _limit(seconds: float) -> None:
    """End this process unless the limit is changed in time; 0 lifts it."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds + MARGIN_S if seconds else 0)


def _load(load: LoadModel) -> ModelEngine | Refused:
    module, _, name = load.engine.partition(":")
    try:
        engine: ModelEngine = getattr(import_module(module), name)(**load.arguments)
    except ConfigError as error:
        return Refused(error.setting, error.problem, error.mend)
    except ImportError as error:
        problem = f"cannot import {error.name or load.engine}: {error}"
        return Refused("", problem, f"install the extra that brings it, such as {install_line('voice')}")
    except Exception as error:
        return Refused("", f"cannot load: {type(error).__name__}: {error}", "check its options and its installation")
    return engine


def _answer(engine: ModelEngine, sessions: dict[int, ModelSession], request: Request) -> Reply | None:
    if isinstance(request, LoadModel):
        raise WireError("a second load")
    try:
        match request:
            case Start(call, stream):
                sessions[stream] = engine.start()
                return Done(call, b"")
            case Call(call, stream, op, payload):
                return Done(call, sessions[stream].call(op, payload))
            case Close(stream):
                if stream in sessions:
                    sessions.pop(stream).close()
                return None
    except Exception as error:
        # A stream that cannot be closed is forgotten all the same, and nobody waits to be told.
        return None if isinstance(request, Close) else Failed(request.call, _problem(error), _place(error))


def _problem(error: Exception) -> str:
    # Only the text of a StageError is sure not to quote a caller.
    return error.problem if isinstance(error, StageError) else f"failed with {type(error).__name__}"


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"


def _read(requests: BinaryIO) -> Request | None:
    """Read the next request; None when there are no more."""
    head = requests.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    length = body_length(head)
    body = requests.read(length)
    return decode_request(body) if len(body) == length else None


def _write(replies: BinaryIO, reply: Reply) -> None:
    try:
        message = encode(reply)
    except WireError as error:
        assert isinstance(reply, Done)
        message = encode(Failed(reply.call, f"answered {error}", ""))
    replies.write(message)
    replies.flush()


if __name__ == "__main__":
    main()

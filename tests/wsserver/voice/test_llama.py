"""The responder llm with a real, tiny model; and HttpResponder against llama.cpp's own server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.wsserver.voice.tiny_model import write_tiny_model
from wscore.errors import ConfigError
from wsserver.voice.backends.llama import LlamaEngine, LlamaResponder
from wsserver.voice.backends.openai import HttpResponder
from wsserver.voice.settings import Endpoint
from wsserver.voice.stages import Role, Said, StageError

HISTORY = (Said(Role.USER, "hello"),)
HANG_S = 30  # only to end a test that would hang

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_model(path)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def responder(model: Path) -> AsyncIterator[LlamaResponder]:
    it = LlamaResponder(gguf=model, timeout_ms=20_000)
    await it.open()
    yield it
    await it.close()


async def some_text(responder: LlamaResponder | HttpResponder, pieces: int = 5) -> str:
    text = ""
    stream = responder.respond(HISTORY)
    async for piece in stream:
        text += piece
        pieces -= 1
        if not pieces:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return text


async def test_the_model_writes_text_piece_by_piece(responder):
    assert await some_text(responder)


async def test_callers_are_answered_beside_each_other_and_some_leave(responder):
    async with asyncio.timeout(HANG_S):
        texts = await asyncio.gather(*(some_text(responder, pieces) for pieces in (1, 3, 8, 3, 1, 5)))
    assert all(texts)


async def test_a_process_that_dies_fails_its_answer_and_is_replaced(responder):
    async with asyncio.timeout(HANG_S):
        while (pid := await killed_while_it_answers(responder)) is None:
            pass
        assert await some_text(responder)
    assert responder.pool.pids != (pid,)


async def killed_while_it_answers(responder: LlamaResponder) -> int | None:
    """Kill the process after the first piece; returns its pid, or None where the whole answer had been written."""
    stream = responder.respond(HISTORY)
    assert await anext(stream)
    [pid] = responder.pool.pids
    os.kill(pid, signal.SIGKILL)
    try:
        async for _ in stream:
            pass
    except StageError:
        return pid
    return None


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[LlamaEngine]:
    return LlamaEngine(gguf=str(model), threads=1)


async def test_the_http_backend_speaks_to_the_server_of_llama_cpp(engine):
    place = json.loads(engine.start().call("place", b""))
    responder = HttpResponder(endpoint=Endpoint(place["url"], model="any", key=place["key"]))
    assert await some_text(responder)
    await responder.close()


async def test_who_has_not_the_key_is_turned_away(engine):
    place = json.loads(engine.start().call("place", b""))
    responder = HttpResponder(endpoint=Endpoint(place["url"], key="another"))
    with pytest.raises(StageError, match="refused the key"):
        await some_text(responder)
    await responder.close()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "is no GGUF file"),
        (b"PK\x03\x04 something", "is no GGUF file"),
        (b"GGUF\x03\x00\x00\x00", "llama.cpp cannot load"),
    ],
)
async def test_a_file_that_is_no_model_is_named_before_the_server_starts(tmp_path, content, problem):
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"--gguf: .*{problem}") as error:
        await LlamaResponder(gguf=path).open()
    assert "model.gguf" in str(error.value)


async def test_the_answer_is_not_longer_than_its_limit(engine):
    place = json.loads(engine.start().call("place", b""))
    responder = HttpResponder(endpoint=Endpoint(place["url"], key=place["key"]))
    async with asyncio.timeout(HANG_S):
        pieces = [piece async for piece in responder.respond(HISTORY)]
    assert 0 < len(pieces) <= 512
    await responder.close()

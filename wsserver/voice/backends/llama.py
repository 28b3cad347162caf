"""The responder llm: llama.cpp with a model file, as its own HTTP server on loopback in a worker process.

The process is one of a pool's, so it is restarted when it dies and gone when the server is; the pool is only asked
where its server listens. What is said goes over HTTP, which streams, and stops the model when nobody listens any more.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from wscore.errors import ConfigError
from wsserver.voice.backends.openai import Api, chat
from wsserver.voice.settings import Endpoint
from wsserver.voice.stages import Said
from wsserver.voice.workers.pool import Pool

NAME: Final = "llm"
OPTION: Final = "--gguf"
CALLERS: Final = 4  # who may be answered at the same time; more wait
CONTEXT_TOKENS: Final = 8192  # for all of them together
MAX_ANSWER_TOKENS: Final = 512

_MAGIC: Final = b"GGUF"


class LlamaResponder:
    """Answers with a model in the format GGUF."""

    def __init__(self, *, gguf: Path, timeout_ms: int = 10_000) -> None:
        arguments = {"gguf": str(gguf.absolute()), "threads": max((os.cpu_count() or 2) - 1, 1)}
        self.pool = Pool(NAME, f"{__name__}:{LlamaEngine.__name__}", arguments, size=1, timeout_ms=timeout_ms)
        self._timeout_ms = timeout_ms
        self._url = ""
        self._api: Api | None = None

    @property
    def name(self) -> str:
        """As the command line writes it."""
        return NAME

    async def open(self) -> None:
        """Load the model; raises ConfigError."""
        await self.pool.open()

    async def close(self) -> None:
        """End the process."""
        await self.pool.close()
        if self._api is not None:
            await self._api.close()

    async def respond(self, history: Sequence[Said]) -> AsyncIterator[str]:
        """Yield the text as it is written."""
        async with aclosing(chat(await self._current(), history)) as pieces:
            async for piece in pieces:
                yield piece

    async def _current(self) -> Api:
        """Return the API of the process that runs now; a restarted one listens elsewhere."""
        stream = await self.pool.start()
        try:
            place = json.loads(await stream.call("place"))
        finally:
            stream.close()
        if self._api is None or self._url != place["url"]:
            before, self._url = self._api, place["url"]
            self._api = Api(NAME, OPTION, Endpoint(self._url, key=place["key"]), self._timeout_ms)
            if before is not None:
                await before.close()
        return self._api


class LlamaEngine:
    """The model and its server, in a worker process; a random key keeps other users of this machine out."""

    def __init__(self, *, gguf: str, threads: int) -> None:
        _check(Path(gguf))
        import xllamacpp

        key = secrets.token_urlsafe()
        params = xllamacpp.CommonParams()
        params.model.path = gguf
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.api_keys = [key]
        params.ui = False
        params.offline = True
        params.n_ctx = CONTEXT_TOKENS
        params.n_parallel = CALLERS
        params.kv_unified = True
        params.n_predict = MAX_ANSWER_TOKENS
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError:
            problem = f"llama.cpp cannot load {gguf}"
            raise ConfigError(OPTION, problem, "is it whole, and a model that answers chats?") from None
        self._place = json.dumps({"url": self._server.listening_address, "key": key}).encode()

    def start(self) -> LlamaSession:
        """Return what tells the place."""
        return LlamaSession(self._place)


class LlamaSession:
    """Tells where the server listens, and its key."""

    def __init__(self, place: bytes) -> None:
        self._place = place

    def call(self, op: str, payload: bytes) -> bytes:
        """Return the place as JSON, the only thing that is asked for."""
        return self._place

    def close(self) -> None:
        """Nothing is held."""


def _check(path: Path) -> None:
    """Raise ConfigError for what can be seen without loading it."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise ConfigError(OPTION, f"{path}: {error.strerror}") from None
    if magic != _MAGIC:
        raise ConfigError(OPTION, f"{path} is no GGUF file")

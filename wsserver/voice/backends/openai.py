"""Backends behind HTTP: servers that speak OpenAI's API for transcriptions, chat completions and speech.

What such a server sends is as foreign as what a caller sends: its size is bounded, it is never decompressed, redirects
are not followed (they would take the key along), and no error repeats a word of it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx

from wscore.audio import DEFAULT_FORMAT
from wscore.errors import ConfigError
from wscore.units import format_figure
from wscore.wav import Wav, write_wav
from wsserver.voice.settings import Endpoint
from wsserver.voice.stages import Said, StageError

NAME: Final = "http"
MAX_TEXT_BYTES: Final = 1 << 20  # one JSON body, or one line of a stream
MAX_UTTERANCE_MS: Final = 10 * 60_000
MAX_SENTENCE_MS: Final = 120_000  # a sentence has at most 240 characters
SPEECH_RATE_HZ: Final = 24_000  # what the format "pcm" of /v1/audio/speech means
INSTRUCTION: Final = (
    "You are a voice assistant. Answer in one to three short sentences that can be read aloud, "
    "without lists, markup or emoji."
)

_STATUS: Final = {
    401: "refused the key (401)",
    403: "refused the key (403)",
    404: "has no such path or model (404)",
    429: "allows no more requests for now (429)",
}


class Api:
    """One server's API; `option` is the option that named it, `stage` the backend that errors name."""

    def __init__(self, stage: str, option: str, endpoint: Endpoint, timeout_ms: int) -> None:
        """Raises ConfigError for a URL that is no base URL."""
        self._stage = stage
        self._timeout_s = timeout_ms / 1000
        self._model = endpoint.model
        self._base, is_loopback = _base_url(option, endpoint.url)
        headers = {"Accept-Encoding": "identity"}
        if endpoint.key is not None:
            headers["Authorization"] = f"Bearer {endpoint.key}"
        # A proxy of the environment is not asked to reach this very machine.
        self._client = httpx.AsyncClient(headers=headers, timeout=self._timeout_s, trust_env=not is_loopback)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    @contextlib.asynccontextmanager
    async def post(
        self, path: str, *, body: dict[str, Any] | None = None, wav: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Post JSON, or a form with a WAV file; the model is added. Yields a good response; raises StageError."""
        named = {"model": self._model} if self._model else {}
        content: dict[str, Any]
        if wav is None:
            content = {"json": {**named, **(body or {})}}
        else:
            content = {"data": {**named, **(body or {})}, "files": {"file": ("speech.wav", wav, "audio/wav")}}
        try:
            async with self._client.stream("POST", f"{self._base}{path}", **content) as response:
                if response.status_code != httpx.codes.OK:
                    status = response.status_code
                    raise self.failed(_STATUS.get(status, f"answered {status}"))
                yield response
        except httpx.TimeoutException as error:
            doing = "accept a connection" if isinstance(error, httpx.ConnectTimeout) else "answer"
            raise self.failed(f"did not {doing} within {format_figure(self._timeout_s)} s") from None
        except httpx.HTTPError as error:
            doing = "be reached" if isinstance(error, httpx.ConnectError) else "be understood"
            raise self.failed(f"cannot {doing} ({type(error).__name__})") from None

    async def json(self, response: httpx.Response) -> Any:
        """Return the response's JSON; raises StageError."""
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > MAX_TEXT_BYTES:
                raise self.failed(f"answered more than {MAX_TEXT_BYTES} bytes")
        return self.loads(bytes(body))

    async def lines(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """Yield the response's lines without their ends; raises StageError."""
        rest = b""
        async for piece in response.aiter_raw():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r")
            if len(rest) > MAX_TEXT_BYTES:
                raise self.failed(f"sent a line of more than {MAX_TEXT_BYTES} bytes")

    def loads(self, text: bytes) -> Any:
        """Return what JSON says; raises StageError."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise self.failed("answered no JSON") from None

    def failed(self, problem: str) -> StageError:
        """Return the error to raise for something that the server did."""
        return StageError(self._stage, problem)

    def unexpected(self) -> StageError:
        """Return the error for JSON that is not what the API promises."""
        return self.failed("answered JSON of another kind than the API's")


class _HttpBackend:
    """What the three have in common."""

    def __init__(self, option: str, endpoint: Endpoint, timeout_ms: int) -> None:
        self._api = Api(NAME, option, endpoint, timeout_ms)

    @property
    def name(self) -> str:
        """As the command line writes it."""
        return NAME

    async def open(self) -> None:
        """Nothing is needed: a server that is down now may be up for the first caller."""

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()


class HttpRecognizer(_HttpBackend):
    """`/v1/audio/transcriptions`: the whole utterance as a WAV when it has ended, so there are no partial texts."""

    def __init__(self, *, endpoint: Endpoint, timeout_ms: int = 10_000) -> None:
        super().__init__("--asr-url", endpoint, timeout_ms)

    async def start(self) -> HttpRecognition:
        """Begin an utterance."""
        return HttpRecognition(self._api)


class HttpRecognition:
    """One utterance; what is said after MAX_UTTERANCE_MS is not heard."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._audio = bytearray()

    async def feed(self, pcm: bytes) -> str | None:
        """Keep the audio."""
        self._audio += pcm[: max(DEFAULT_FORMAT.size_bytes(MAX_UTTERANCE_MS) - len(self._audio), 0)]
        return None

    async def finish(self) -> str:
        """Send it and return the text."""
        wav = write_wav(Wav(DEFAULT_FORMAT, bytes(self._audio)))
        async with self._api.post("/audio/transcriptions", body={"response_format": "json"}, wav=wav) as response:
            answer = await self._api.json(response)
        if not isinstance(answer, dict) or not isinstance(text := answer.get("text"), str):
            raise self._api.unexpected()
        return text.strip()

    async def close(self) -> None:
        """Forget the audio."""
        self._audio.clear()


class HttpResponder(_HttpBackend):
    """`/v1/chat/completions`, streamed."""

    def __init__(self, *, endpoint: Endpoint, timeout_ms: int = 10_000) -> None:
        super().__init__("--llm-url", endpoint, timeout_ms)

    def respond(self, history: Sequence[Said]) -> AsyncIterator[str]:
        """Yield the text as it is written."""
        return chat(self._api, history)


async def chat(api: Api, history: Sequence[Said]) -> AsyncGenerator[str, None]:
    """Yield the answer to a conversation's last entry as the server writes it; closing the iterator stops it."""
    messages = [{"role": "system", "content": INSTRUCTION}]
    messages += [{"role": said.role.value, "content": said.text} for said in history]
    is_whole = False
    async with api.post("/chat/completions", body={"messages": messages, "stream": True}) as response:
        async for line in api.lines(response):
            # Server-sent events: lines with other fields, comments and the empty lines between events say nothing.
            if not line.startswith(b"data:"):
                continue
            data = line[len(b"data:") :].strip()
            if data == b"[DONE]":
                is_whole = True
                break
            text, has_finished = _delta(api, data)
            is_whole = is_whole or has_finished
            if text:
                yield text
    if not is_whole:
        raise api.failed("ended its answer in the middle")


def _delta(api: Api, data: bytes) -> tuple[str, bool]:
    """Return the text of one event, and whether it is the last one."""
    event = api.loads(data)
    if not isinstance(event, dict):
        raise api.unexpected()
    if "error" in event:
        raise api.failed("reported an error in the middle of its answer")
    choices: Any = event.get("choices")
    if choices == []:  # an event about usage
        return "", False
    try:
        choice = choices[0]
        text = choice["delta"].get("content") or ""
        has_finished = choice.get("finish_reason") is not None
    except (LookupError, TypeError, AttributeError):
        raise api.unexpected() from None
    if not isinstance(text, str):
        raise api.unexpected()
    return text, has_finished


class HttpSynthesizer(_HttpBackend):
    """`/v1/audio/speech` with the format pcm, streamed."""

    def __init__(self, *, endpoint: Endpoint, voice: str | None = None, timeout_ms: int = 10_000) -> None:
        super().__init__("--tts-url", endpoint, timeout_ms)
        self._voice = {} if voice is None else {"voice": voice}

    @property
    def sample_rate_hz(self) -> int:
        """What the API says of its format pcm."""
        return SPEECH_RATE_HZ

    async def synthesize(self, text: str) -> AsyncIterator[bytes]:
        """Yield the audio as it comes."""
        body = {"input": text, "response_format": "pcm", **self._voice}
        async with self._api.post("/audio/speech", body=body) as response:
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind.startswith("text/") or kind in _NOT_PCM:
                raise self._api.failed("answered something else than PCM")
            rest, left_bytes = b"", MAX_SENTENCE_MS * SPEECH_RATE_HZ * 2 // 1000
            async for piece in response.aiter_raw():
                left_bytes -= len(piece)
                if left_bytes < 0:
                    raise self._api.failed(f"speaks longer than {MAX_SENTENCE_MS // 1000} s for a sentence")
                piece = rest + piece
                whole = len(piece) & ~1
                rest = piece[whole:]
                if whole:
                    yield piece[:whole]


_NOT_PCM: Final = frozenset(("application/json", "audio/wav", "audio/x-wav", "audio/mpeg", "audio/ogg", "audio/flac"))


def _base_url(option: str, url: str) -> tuple[str, bool]:
    """Return the base with `/v1` and without a slash at its end, and whether it is this machine; raises ConfigError."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(option, "not a URL", "write it like http://127.0.0.1:8080") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(option, "not an http or https URL", "write it like http://127.0.0.1:8080")
    if parts.username is not None or parts.query or parts.fragment:
        mend = f"give the base URL alone, and a key in {option.removesuffix('-url')}-key-file"
        raise ConfigError(option, "has a user, a query or a fragment", mend)
    path = parts.path.rstrip("/")
    base = urlunsplit((parts.scheme, parts.netloc, path if path.endswith("/v1") else f"{path}/v1", "", ""))
    return base, host == "localhost" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Speech to text with PocketSphinx: weak at free dictation, good at the few sentences of a grammar."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wscore.errors import ConfigError
from wsserver.voice.stages import StageError
from wsserver.voice.workers.pool import ModelStream, Pool

if TYPE_CHECKING:
    from pocketsphinx import Decoder, FsgModel

NAME: Final = "pocketsphinx"
SAMPLE_RATE_HZ: Final = 16_000
# A decoder takes 100 MB and 0.4 s to load, and a core decodes about three utterances in real time.
MAX_DECODERS: Final = 4

_OPTION: Final = "--grammar"
_NAMED_WORDS: Final = 5
_COMMENT: Final = re.compile(rb"//[^\n]*|/\*.*?\*/", re.DOTALL)
_RULE: Final = re.compile(rb"<[^<>]+>\s*=")
_SYNTAX_ERROR: Final = re.compile(r": (syntax error, .*) at line (\d+)")


class PocketsphinxRecognizer:
    """Decoders in worker processes: they hold the interpreter's lock for up to a second."""

    def __init__(self, *, grammar: Path | None = None, workers: int | None = None, timeout_ms: int = 10_000) -> None:
        engine = f"{__name__}:{PocketsphinxEngine.__name__}"
        arguments = {"grammar": str(grammar.absolute()) if grammar else None}
        self.pool = Pool(NAME, engine, arguments, size=workers, timeout_ms=timeout_ms)

    @property
    def name(self) -> str:
        """What people call it."""
        return NAME

    async def open(self) -> None:
        """Start the workers; raises ConfigError, for a grammar that cannot be used too."""
        await self.pool.open()

    async def close(self) -> None:
        """End the workers."""
        await self.pool.close()

    async def start(self) -> PocketsphinxRecognition:
        """Begin an utterance; raises StageError, also when the least busy worker has no decoder to spare."""
        return PocketsphinxRecognition(await self.pool.start())


class PocketsphinxRecognition:
    """One utterance."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ModelStream) -> None:
        self._stream = stream

    async def feed(self, pcm: bytes) -> str | None:
        """Take more audio; returns the text so far when it has changed."""
        return (await self._stream.call("feed", pcm)).decode() or None

    async def finish(self) -> str:
        """Return the text of the whole utterance."""
        text = (await self._stream.call("finish")).decode()
        self._stream.close()
        return text

    async def close(self) -> None:
        """Give the utterance up, and its decoder back."""
        self._stream.close()


class PocketsphinxEngine:
    """The child side: the decoders, in use and free."""

    def __init__(self, grammar: str | None = None) -> None:
        from pocketsphinx import Decoder

        self._decoder = Decoder
        self._grammar = grammar
        self._in_use = 0
        first = self._load()
        # What a decoder learns of one caller's microphone is wrong for the next caller's.
        self._cmn = first.get_cmn(False)
        self._free = [first]

    def start(self) -> PocketsphinxSession:
        """Begin an utterance, on a decoder that is free or, up to a bound, on a new one."""
        if not self._free and self._in_use >= MAX_DECODERS:
            raise StageError(NAME, f"{MAX_DECODERS} utterances are under way in a worker, which is all it can hear")
        decoder = self._free.pop() if self._free else self._load()
        self._in_use += 1
        decoder.set_cmn(self._cmn)
        decoder.start_utt()
        return PocketsphinxSession(self, decoder)

    def release(self, decoder: Decoder) -> None:
        """Take a decoder back; its utterance has ended."""
        self._in_use -= 1
        self._free.append(decoder)

    def _load(self) -> Decoder:
        options = {"samprate": SAMPLE_RATE_HZ, "loglevel": "FATAL"}
        if self._grammar is None:
            return self._decoder(**options)
        decoder = self._decoder(**options, lm=None)
        model = _read_grammar(decoder, self._grammar)
        decoder.add_fsg("grammar", model)
        decoder.activate_search("grammar")
        return decoder


class PocketsphinxSession:
    """One utterance in the child."""

    def __init__(self, engine: PocketsphinxEngine, decoder: Decoder) -> None:
        self._engine = engine
        self._decoder: Decoder | None = decoder
        self._partial = ""

    def call(self, op: str, payload: bytes) -> bytes:
        """Return the text for "finish"; for "feed" the partial text, empty when it is the same as before."""
        if self._decoder is None:
            raise StageError(NAME, "the utterance is over")
        if op == "finish":
            return self._end(self._decoder).encode()
        if payload:
            self._decoder.process_raw(payload)
        partial = _text(self._decoder)
        if partial == self._partial:
            return b""
        self._partial = partial
        return partial.encode()

    def close(self) -> None:
        """Give the decoder back, unless that was done."""
        if self._decoder is not None:
            self._end(self._decoder)

    def _end(self, decoder: Decoder) -> str:
        self._decoder = None
        decoder.end_utt()
        text = _text(decoder)
        self._engine.release(decoder)
        return text


def _text(decoder: Decoder) -> str:
    hypothesis = decoder.hyp()
    return "" if hypothesis is None else " ".join(hypothesis.hypstr.lower().split())


def _read_grammar(decoder: Decoder, grammar: str) -> FsgModel:
    """Compile a JSGF file; the decoder itself would only say that it failed, and of a dead end not even that."""
    try:
        source = Path(grammar).read_bytes()
    except OSError as error:
        raise ConfigError(_OPTION, f"cannot read {grammar}: {error.strerror}") from None
    _check_syntax(grammar)
    # Over a grammar without rules the decoder would crash too.
    if _RULE.search(_COMMENT.sub(b"", source)) is None:
        raise ConfigError(_OPTION, f"{grammar} has no rule", "define a public one")
    try:
        model = decoder.read_jsgf(grammar)
    except (RuntimeError, ValueError):
        raise ConfigError(_OPTION, f"{grammar} leads nowhere", "define every rule that another one names") from None
    steps = _steps(model)
    words = sorted({word for _, _, word in steps if word})
    unknown = [word for word in words if decoder.lookup_word(word) is None]
    if unknown:
        problem = f"{grammar} has words that are not in the dictionary: {', '.join(unknown[:_NAMED_WORDS])}"
        raise ConfigError(_OPTION, problem, "use other words, in lower case")
    if not words or not _all_end(steps):
        problem = f"{grammar} leads nowhere: a public rule is missing, or a rule that another one names"
        raise ConfigError(_OPTION, problem, "define every rule")
    return model


def _check_syntax(grammar: str) -> None:
    """Raise ConfigError with the place of a syntax error: the decoder would crash over it.

    The parser tells the place on standard error alone, so that goes to a file as long as it parses.
    """
    from pocketsphinx import Jsgf, set_loglevel

    before = os.dup(2)
    try:
        with tempfile.TemporaryFile() as errors:
            os.dup2(errors.fileno(), 2)
            set_loglevel("ERROR")
            try:
                Jsgf(grammar)
                return
            except ValueError:
                errors.seek(0)
                told = errors.read().decode("utf-8", "replace")
    finally:
        set_loglevel("FATAL")
        os.dup2(before, 2)
        os.close(before)
    error = _SYNTAX_ERROR.search(told)
    problem = f"{grammar}, line {error[2]}: {error[1]}" if error else f"{grammar} is no grammar that can be read"
    raise ConfigError(_OPTION, problem, "see https://www.w3.org/TR/jsgf/ for the format")


def _steps(model: FsgModel) -> list[tuple[str, str, str]]:
    """Return from which state to which state which word leads; the package tells that only in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.fsg")
        model.writefile(str(path))
        lines = [line.split(" ") for line in path.read_text().splitlines()]
    return [(line[1], line[2], line[4]) for line in lines if line[0] == "TRANSITION"]


def _all_end(steps: list[tuple[str, str, str]]) -> bool:
    """Tell whether every state leads on to the final one, which is always numbered 1."""
    ending = {"1"}
    while more := {start for start, end, _ in steps if end in ending} - ending:
        ending |= more
    return {state for start, end, _ in steps for state in (start, end)} <= ending

"""The sending half of a script: every line of the command line and the input goes through, or is told."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from wsclient.binaryform import REFUSED_BINARY, Binary
from wsclient.flight import OutgoingLine
from wsclient.losses import Losses
from wsclient.outgoing import piped_frame, with_id, with_room
from wsclient.pacing import Pacer
from wsclient.reliablesender import NOT_SENT, ReliableSender
from wsclient.spanning import joined, single
from wsclient.templates import TemplateContext, expand
from wscore.envelope import InvalidMessageError, MessageProtocol
from wscore.errors import ConfigError
from wscore.foreign import Frame
from wscore.foreign.ours import DEFAULT_TYPE, envelope_of
from wscore.payloads import SessionCreated

CAPTURE_S: Final = 10.0  # how long a line waits for what it takes from an answer
_TOLD: Final = 10  # lost lines that are named one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """What to send, and how.

    Lines of `first` go first, each after the one before it was taken, then those of the input, at most `per_second` of
    them. They are sent `as_is`, as the bytes that `binary` reads in them, or framed and checked; `adds_ids` gives an
    envelope without an `id` one. What names no room goes to `room`. Variables are filled in where `expands_first` and
    `expands_input` say so. If it `probes`, somebody wants to see errors: nothing is checked, or held back for the
    limits of the server. A line of input is called a `noun` in what is said of it. `files` are binary frames of that
    content that go before the input.
    """

    first: Sequence[str] = ()
    bare_type: str = ""
    room: str | None = None
    expands_first: bool = True
    expands_input: bool = False
    per_second: float | None = None
    as_is: bool = False
    binary: Binary = Binary.NONE
    adds_ids: bool = True
    probes: bool = False
    noun: str = "line"
    files: Sequence[tuple[str, bytes]] = ()


class Sending:
    """Frames lines and hands them to a ReliableSender.

    `on_failed` is told why one of `first` did not go through, and once all lines are out, of any.
    """

    def __init__(
        self,
        options: SendOptions,
        protocol: MessageProtocol,
        templates: TemplateContext,
        *,
        send: Callable[[Frame], Awaitable[None]],
        compose: Callable[[str, str], Frame],
        ready: Callable[[], Awaitable[None]],
        note: Callable[[str], None],
        on_failed: Callable[[str], None],
    ) -> None:
        self._options = options
        self._protocol = protocol
        self._templates = templates
        self._compose = compose
        self._note = note
        self._on_failed = on_failed
        self.losses = Losses(self._on_lost)
        pacer = Pacer(options.per_second, time.monotonic(), heeds_limits=not options.probes)
        self.sender = ReliableSender(
            protocol,
            pacer,
            send=send,
            ready=ready,
            losses=self.losses,
            # A replay says again what was said, nonsense included.
            judges_invalid=not (options.as_is and options.adds_ids),
        )
        self._prefix = uuid.uuid4().hex[:8]
        self._is_ours = self._is_over = False
        self._number = 0
        self._seen = asyncio.Event()
        self.told = 0

    def opened(self, session: SessionCreated | None) -> None:
        """Note whether the server is one of ours."""
        self._is_ours = session is not None
        self.sender.opened(session)

    def as_typed(self, text: str, envelope_id: str | None) -> str:
        """Return what came in answer to a line without the id that the line had not had before it came here."""
        if envelope_id is None or not envelope_id.startswith(self._prefix):
            return text
        # Behind the data, which may hold anything: our servers write the id there.
        before, member, after = text.rpartition(f',"id":"{envelope_id}"')
        return before + after if member else text

    async def say_first(self) -> bool:
        """Send the lines of the command line; returns whether there were any.

        Raises ConfigError for a line that is none and for a variable that cannot be filled in.
        """
        lines = self._options.first
        for text in lines:
            place = self._place_of_first(self._number + 1)
            try:
                await self._put(place, text, expands=self._options.expands_first)
            except InvalidMessageError as error:
                raise ConfigError(place, error.reason) from None
            await self.sender.settled()
        for name, content in self._options.files:
            place = f"--send-file {name}"
            try:
                await self._put(place, content, expands=False)
            except InvalidMessageError as error:
                raise ConfigError(place, error.reason) from None
        return bool(lines or self._options.files)

    async def say(self, lines: AsyncIterator[Frame]) -> bool:
        """Send the lines of the input; returns whether there were any."""
        options, said = self._options, False
        is_verbatim = options.as_is or options.binary is not Binary.NONE
        async for line in single(lines) if is_verbatim else joined(lines):
            if not line.text:
                continue
            said = True
            place = line.place(options.noun)
            try:
                await self._put(place, line.text, expands=options.expands_input, check=line.check)
            except (ConfigError, InvalidMessageError) as error:
                self.losses.given += 1
                self.losses.add(OutgoingLine(self._number, place, line.text, None), str(error))
        await self.sender.settled()
        self._is_over = True
        if self.losses.error is not None:
            self._on_failed(str(self.losses.error))
        return said

    def give_up(self) -> None:
        """Count everything that is not proven, and what its turn never came for on the command line, as lost."""
        self.sender.give_up()
        for number in range(self._number + 1, len(self._options.first) + 1):
            self.losses.given += 1
            self.losses.add(OutgoingLine(number, self._place_of_first(number), "", None), NOT_SENT)

    def _place_of_first(self, number: int) -> str:
        return "--send" if len(self._options.first) == 1 else f"--send number {number}"

    async def _put(self, place: str, text: Frame, *, expands: bool, check: Callable[[str], None] | None = None) -> None:
        self._number += 1
        frame, line_id = text, None
        if isinstance(text, str):
            if expands:
                await self._captured(text)
                text = expand(text, self._templates)
            if check is not None:
                check(text)
            frame, line_id = self._framed(text, place)
        if isinstance(frame, bytes) and self._is_ours and not self._options.as_is:
            raise InvalidMessageError(REFUSED_BINARY)
        await self.sender.put(OutgoingLine(self._number, place, frame, line_id))

    async def _captured(self, text: str) -> None:
        """Wait for what a line takes from a message that has not come yet; without it `expand` says what is missing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CAPTURE_S):
                while self._templates.missing(text) is not None:
                    self._seen.clear()
                    await self._seen.wait()

    def saw(self) -> None:
        """Note that a message came."""
        self._seen.set()

    def _framed(self, text: str, place: str) -> tuple[Frame, str | None]:
        """Return the frame for a line, and its id. A server of another make has rules of its own."""
        options = self._options
        if options.binary is not Binary.NONE:
            return options.binary.read(text, place), None
        if options.as_is:
            frame: Frame = text
        elif self._is_ours and not options.probes:
            frame = piped_frame(text, options.bare_type or DEFAULT_TYPE, self._protocol)
        else:
            frame = self._compose(text, options.bare_type)
        if isinstance(frame, bytes) or not self._is_ours:
            return frame, None
        if options.room is not None:
            frame = with_room(frame, options.room)
        if options.adds_ids:
            return with_id(frame, f"{self._prefix}-{self._number}")
        envelope = envelope_of(frame)
        return frame, None if envelope is None else envelope.id

    def _on_lost(self, line: OutgoingLine, why: str) -> None:
        if line.number <= len(self._options.first):
            self._on_failed(f"{line.place} did not go through: {why}")
            return
        self.told += 1
        if self.told <= _TOLD:
            self._note(f"{line.place} did not go through: {why}")
        if self._is_over:  # an app may answer late
            self._on_failed(str(self.losses.error))

"""The way out to one peer, as an engine offers it and every room of the server uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wscore.disconnects import Disconnect
from wsserver.outbound.outbox import Chunk


class Channel(Protocol):
    """The way out to one peer. After `close` every call but `abort` is ignored."""

    @property
    def peer_ip(self) -> str | None:
        """The peer's IP address; None on a Unix socket."""

    @property
    def descriptor(self) -> int:
        """The file descriptor of the connection; -1 once it is closed."""

    @property
    def unread(self) -> int:
        """How many bytes wait for the peer to read."""

    def send_text(self, payload: bytes) -> None:
        """Send one text message of UTF-8 `payload`."""

    def send_binary(self, payload: bytes) -> None:
        """Send one binary message."""

    def write(self, frames: bytes) -> int:
        """Write ready-made text frames; returns how many bytes at their end were not taken, which `keep` must get."""

    def keep(self, chunks: Sequence[Chunk], left: int) -> bool:
        """Let the last `left` bytes of `chunks` wait until the peer reads; returns whether none were refused."""

    def pause_reading(self) -> None:
        """Stop reading from the peer, so that TCP holds it back."""

    def resume_reading(self) -> None:
        """Read again."""

    def close(self, disconnect: Disconnect) -> None:
        """Start the closing handshake (RFC 6455 section 7.1.2), bounded by the engine's close time-out.

        The close frame comes after what waits; a disconnect that `drops` lets go of that, but for a frame that has
        begun to go out.
        """

    def abort(self) -> None:
        """Drop the TCP connection and what waits in it."""

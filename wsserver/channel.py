"""The way out to one peer, as an engine offers it and every room of the server uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Channel(Protocol):
    """The way out to one peer. After `close` every call but `abort` is ignored."""

    @property
    def peer_ip(self) -> str | None:
        """The peer's IP address; None on a Unix socket."""

    @property
    def descriptor(self) -> int:
        """The file descriptor of the connection; -1 once it is closed."""

    def send_text(self, payload: bytes) -> None:
        """Send one text message of UTF-8 `payload`."""

    def send_binary(self, payload: bytes) -> None:
        """Send one binary message."""

    def send_frames(self, frames: bytes, payloads: Sequence[bytes]) -> None:
        """Send ready-made text frames in one write; `payloads` are the same messages without framing."""

    def buffered_bytes(self) -> int:
        """Return how many bytes wait in the process because the peer does not read."""

    def pause_reading(self) -> None:
        """Stop reading from the peer, so that TCP holds it back."""

    def resume_reading(self) -> None:
        """Read again."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake (RFC 6455 section 7.1.2), bounded by the engine's close time-out."""

    def abort(self) -> None:
        """Drop the TCP connection and what waits in it."""

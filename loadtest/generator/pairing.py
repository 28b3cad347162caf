"""Which reply belongs to which request: by its id, or in order per connection where replies carry none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from loadtest.generator.messages import Part

MAX_OVERDUE: Final = 100_000

# When it was due and when it was sent, whether it counts, and the connection that sent it.
Request = tuple[int, int, bool, Any]


class Pairing:
    """The requests of one process without a reply; `was_issued` tells an id that it gave from one that it never did.

    Whoever asks enters its request into `pending`; whoever finds one of its own there takes it out. All else goes to
    `odd`. A request that waited for longer than `timeout_ns` is overdue, so that its connection goes on; a reply that
    still comes counts as `late` too, which is up to whoever gets it.
    """

    __slots__ = (
        "_overdue",
        "_was_issued",
        "duplicated",
        "is_in_order",
        "late",
        "misdelivered",
        "pending",
        "timeout_ns",
        "unknown",
    )

    def __init__(self, timeout_s: float, was_issued: Callable[[str], bool], *, in_order: bool = False) -> None:
        self.pending: dict[str, Request] = {}
        self.duplicated = 0
        self.late = 0
        self.misdelivered = 0
        self.unknown = 0
        self.timeout_ns = int(timeout_s * 1e9)
        self._was_issued = was_issued
        self._overdue: dict[str, Request] = {}
        self.is_in_order = in_order  # replies carry no ids, so connections know the order in which they asked

    def enter(self, key: str, request: Request) -> None:
        """Enter a request."""
        self.pending[key] = request
        if self.is_in_order:
            _line_up(key, request)

    def odd(self, connection: Any, key: str | None, *, counts: bool) -> tuple[Request, bool] | None:
        """Return the request that a reply answers after all, and whether it was overdue.

        Without a key it is the oldest of that connection. What answers nothing is counted, if it `counts`.
        """
        if key is None:
            key = self._oldest(connection)
            self.unknown += counts and key is None
            return None if key is None else (self.pending.pop(key), False)
        request = self.pending.get(key) or self._overdue.get(key)
        if request is not None and request[3] is connection:
            if self.pending.pop(key, None) is not None:
                return request, False
            del self._overdue[key]
            return request, True
        if request is not None:
            self.misdelivered += counts
        elif self._was_issued(key):
            self.duplicated += counts
        else:
            self.unknown += counts
        return None

    def expired(self, now_ns: int) -> Iterator[Request]:
        """Yield the requests that have waited too long by now; they are overdue from then on."""
        limit_ns = now_ns - self.timeout_ns
        keys = []
        for key, request in self.pending.items():  # in the order of sending
            if request[1] > limit_ns:
                break
            keys.append(key)
        for key in keys:
            request = self._overdue[key] = self.pending.pop(key)
            if len(self._overdue) > MAX_OVERDUE:
                del self._overdue[next(iter(self._overdue))]
            yield request

    def result(self, part: Part) -> None:
        """Add what was odd."""
        part.duplicated = self.duplicated
        part.late = self.late
        part.misdelivered = self.misdelivered
        part.unknown = self.unknown

    def _oldest(self, connection: Any) -> str | None:
        if not self.is_in_order:  # the first reply without an id
            self.is_in_order = True
            for key, request in self.pending.items():
                _line_up(key, request)
        asked: deque[str] | None = connection.asked
        while asked:
            oldest = asked.popleft()
            if oldest in self.pending:  # else it had a reply with an id, or waited too long
                return oldest
        return None


def _line_up(key: str, request: Request) -> None:
    connection = request[3]
    if connection.asked is None:
        connection.asked = deque()
    connection.asked.append(key)

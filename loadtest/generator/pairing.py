"""Which reply belongs to which request: by its id, or in order per connection where replies carry none."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from loadtest.generator.messages import Counts, Part

MAX_OVERDUE: Final = 100_000

# When it was due and when it was sent, whether it counts, and the connection that sent it.
Request = tuple[int, int, bool, Any]


class Issuer(Enum):
    """Who gave an id to a request."""

    THIS = auto()  # this process
    ANOTHER = auto()  # another one of this run; how far that has come is not known here
    NOBODY = auto()


_ODDITIES: Final = {Issuer.THIS: "duplicated", Issuer.ANOTHER: "misdelivered", Issuer.NOBODY: "unknown"}


def issuer_of(number: int, last: int, position: int, processes: int) -> Issuer:
    """Tell who gave a number, where process `position` of `processes` gives every so manyth, so far up to `last`."""
    if number <= 0:
        return Issuer.NOBODY
    if number % processes != position:
        return Issuer.ANOTHER
    return Issuer.THIS if number <= last else Issuer.NOBODY


@dataclass(slots=True)
class _Shift:
    """Whether the replies of a connection have been shifted since before its first request that counts.

    `ahead` is how many requests it was waiting for since then at any time, `taken` how many replies went to those that
    do not count: if what had been asked before was lost, they were for others.
    """

    ahead: int
    taken: int = 0


class Pairing:
    """The requests of one process without a reply; `issuer` tells who gave an id, `counts` has what people see.

    Whoever asks enters its request into `pending`; whoever finds one of its own there takes it out. All else goes to
    `odd`. A request that waited for longer than `timeout_ns` is overdue, so that its connection goes on; a reply that
    still comes is late too, which is up to whoever gets it.
    """

    __slots__ = (
        "_counts",
        "_faults",
        "_forgotten",
        "_issuer",
        "_overdue",
        "_shifts",
        "is_in_order",
        "pending",
        "timeout_ns",
    )

    def __init__(
        self, timeout_s: float, issuer: Callable[[str], Issuer], counts: Counts, *, in_order: bool = False
    ) -> None:
        self.pending: dict[str, Request] = {}
        self.timeout_ns = int(timeout_s * 1e9)
        self._issuer = issuer
        self._counts = counts
        self._faults: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._overdue: dict[str, Request] = {}
        self._forgotten: list[Request] = []
        self._shifts: dict[Any, _Shift] = {}  # by connection, from its first request on that counts
        self.is_in_order = in_order  # replies carry no ids, so connections know the order in which they asked

    def enter(self, key: str, request: Request) -> None:
        """Enter a request."""
        self.pending[key] = request
        if self.is_in_order:
            self._line_up(key, request)

    def odd(self, connection: Any, key: str | None, *, counts: bool) -> tuple[Request, bool] | None:
        """Return the request that a reply answers after all, and whether it was overdue.

        Without a key it is the oldest of that connection. What answers nothing is counted, if it `counts`.
        """
        if key is None:
            key = self._oldest(connection)
            if key is None:
                self._note("unknown", connection, counts=counts)
                return None
            return self.pending.pop(key), False
        request = self.pending.get(key) or self._overdue.get(key)
        if request is not None and request[3] is connection:
            if self.pending.pop(key, None) is not None:
                return request, False
            del self._overdue[key]
            self._counts.missing -= 1
            return request, True
        issuer = Issuer.ANOTHER if request is not None else self._issuer(key)
        self._note(_ODDITIES[issuer], connection, counts=counts)
        return None

    def is_late(self, connection: Any) -> None:
        """Note that a connection got a reply after the reply timeout."""
        self._note("late", connection, counts=True)

    def _note(self, fault: str, connection: Any, *, counts: bool) -> None:
        if counts:
            self._faults[connection.index][fault] += 1
            self._counts.fault(fault)

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
            self._counts.missing += 1
            if len(self._overdue) > MAX_OVERDUE:
                self._forgotten.append(self._overdue.pop(next(iter(self._overdue))))
            yield request

    def result(self, part: Part, offset_ns: int) -> int:
        """Add whose replies were odd, and whose did not come; `offset_ns` is what the clock of the run is ahead.

        Returns how many requests without a reply had one: in order, what was lost before those that count leaves the
        last of them without.
        """
        for index, faults in self._faults.items():
            part.add_faults(index, faults)
        for _, sent_ns, is_counted, connection in (*self._forgotten, *self._overdue.values(), *self.pending.values()):
            if is_counted:
                part.unanswered.setdefault(connection.index, []).append(sent_ns + offset_ns)
        had_one = 0
        for connection, shift in self._shifts.items():
            unanswered = part.unanswered.get(connection.index, [])
            wrong = min(shift.ahead, shift.taken, len(unanswered))
            had_one += wrong
            if wrong == len(unanswered):
                part.unanswered.pop(connection.index, None)
            elif wrong:
                del unanswered[-wrong:]
        return had_one

    def _oldest(self, connection: Any) -> str | None:
        if not self.is_in_order:  # the first reply without an id
            self.is_in_order = True
            for key, request in self.pending.items():
                self._line_up(key, request)
        asked: deque[str] = connection.asked or deque()
        found = None
        while asked and found is None:
            oldest = asked.popleft()
            if oldest in self.pending:  # else it had a reply with an id, or waited too long
                found = oldest
        if (shift := self._shifts.get(connection)) is not None:
            shift.ahead = min(shift.ahead, len(asked))
            shift.taken += found is not None and not self.pending[found][2]
        return found

    def _line_up(self, key: str, request: Request) -> None:
        connection = request[3]
        if connection.asked is None:
            connection.asked = deque()
        if request[2] and connection not in self._shifts:
            self._shifts[connection] = _Shift(sum(earlier in self.pending for earlier in connection.asked))
        connection.asked.append(key)

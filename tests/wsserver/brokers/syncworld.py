"""Two processes, one store and a subscription that loses connections; clients are cut and come back at either.

The oracle of design section 4 holds for what clients read. Every method runs in one turn of a loop; answers of the
store come late and in any order.
"""

from __future__ import annotations

import random
from collections import deque

from wscore.recovery import Position
from wsserver.brokers.batches import Batch, Item
from wsserver.brokers.groupsync import GroupSync

KEPT = 40  # in the store
RING = 12  # in a process


class Store:
    """What all processes share."""

    def __init__(self) -> None:
        self.epochs = 0
        self.subscriptions: dict[str, deque[Batch]] = {}
        self.truth: dict[tuple[str, int], bytes] = {}
        self.renew()

    def renew(self) -> None:
        self.epochs += 1
        self.position = Position(f"e{self.epochs}", 0)
        self.log: deque[tuple[int, Item]] = deque(maxlen=KEPT)

    def publish(self, items: list[Item]) -> None:
        epoch, seq = self.position
        first = seq + 1
        for item in items:
            if item.is_numbered:
                seq += 1
                self.log.append((seq, item))
                self.truth[epoch, seq] = item.payload
        self.position = Position(epoch, seq)
        for queue in self.subscriptions.values():
            queue.append(Batch(epoch, first, sum(item.is_numbered for item in items), items))

    def history(self, after: int) -> tuple[Position, list[Item]]:
        found = [(seq, item) for seq, item in self.log if seq > after]
        whole = after >= 0 and len(found) == self.position.seq - after
        return self.position, [item for _, item in found] if whole else []


class Client:
    """Counts as a client does."""

    def __init__(self) -> None:
        self.position: Position | None = None
        self.process: Process | None = None
        self.inbox: deque = deque()
        self.is_open = False
        self.seen: dict[tuple[str, int], bytes] = {}
        self.resumed = self.lost = 0

    def read(self) -> None:
        what, *rest = self.inbox.popleft()
        if what == "notice":
            position, recovered = rest
            if recovered:
                assert self.position is not None, "recovered, and never was there"
                assert self.position.epoch == position.epoch, "recovered, of another epoch"
                self.resumed += 1
            else:
                self.lost += recovered is False
                self.position = position
            self.is_open = True
            return
        seq, payload = rest
        assert self.is_open, "an event came before the greeting"
        assert self.position is not None
        assert seq == self.position.seq + 1, f"{seq} came after {self.position.seq}"
        self.position = Position(self.position.epoch, seq)
        self.seen[self.position] = payload

    def cut(self) -> None:
        self.inbox.clear()
        self.process, self.is_open = None, False


class Process:
    """A worker's side of one group: what `GroupSync` decides, done."""

    def __init__(self, name: str, store: Store, network: deque, sync: type[GroupSync]) -> None:
        self.name, self.store, self.network, self.make = name, store, network, sync
        self.reset()

    def reset(self) -> None:
        self.members: list[Client] = []
        self.waiting: dict[Client, Position | None] = {}
        self.ring: deque[tuple[int, bytes]] = deque(maxlen=RING)
        self.incoming: deque[Batch] = deque()
        self.sync = self.make(self)
        self.is_subscribed = self.was_subscribed = False
        self.store.subscriptions.pop(self.name, None)

    def subscribe(self) -> None:
        if not self.is_subscribed:
            self.is_subscribed = self.was_subscribed = True
            self.store.subscriptions[self.name] = self.incoming
            self.ask()

    def lose_subscription(self) -> None:
        if self.is_subscribed:
            self.is_subscribed = False
            self.incoming.clear()
            del self.store.subscriptions[self.name]
            self.sync.is_live = False

    def ask(self) -> None:
        question = self.sync.ask()
        self.network.append((self.answered, question, *self.store.history(self.sync.after)))

    def push(self) -> None:
        if self.sync.pushed(self.incoming.popleft()):
            self.ask()

    def answered(self, question: int, position: Position, items: list[Item]) -> None:
        if not self.is_subscribed:
            return
        if self.sync.answered(question, position, items):
            self.ask()
        elif self.sync.is_live:
            self.look_up()

    def look_up(self) -> None:
        """Have the store say what newcomers missed."""
        held = self.sync.position
        assert held is not None
        for client, asked in list(self.waiting.items()):
            if asked is None or self.greeting(asked, held, held, [])[0] == ("notice", held, True):
                self.admit(client, asked, held, [])
                continue
            self.network.append((self.admit, client, asked, *self.store.history(-1 if asked is None else asked.seq)))

    def take(self, item: Item, seq: int | None) -> None:
        if seq is not None:
            self.ring.append((seq, item.payload))
            for client in self.members:
                client.inbox.append(("event", seq, item.payload))

    def begin(self, position: Position) -> None:
        pass

    def lose(self, position: Position) -> None:
        self.ring.clear()
        for client in self.members:
            client.inbox.append(("notice", position, False))

    def connect(self, client: Client) -> None:
        client.process, self.waiting[client] = self, client.position
        if not self.was_subscribed:
            self.subscribe()
        elif self.sync.is_live:
            self.look_up()

    def admit(self, client: Client, asked: Position | None, found: Position, items: list[Item]) -> None:
        if client not in self.waiting or self.waiting[client] != asked or not self.sync.is_live:
            return
        held = self.sync.position
        assert held is not None
        del self.waiting[client]
        client.inbox.extend(self.greeting(asked, held, found, items))
        self.members.append(client)

    def greeting(self, asked: Position | None, held: Position, found: Position, items: list[Item]) -> list[tuple]:
        if asked is None:
            return [("notice", held, None)]
        have = dict(self.ring)
        if found.epoch == held.epoch:
            have.update(enumerate((item.payload for item in items), asked.seq + 1))
        missed = range(asked.seq + 1, held.seq + 1)
        if asked.epoch != held.epoch or asked.seq > held.seq or not all(seq in have for seq in missed):
            return [("notice", held, False)]
        return [("notice", held, True), *(("event", seq, have[seq]) for seq in missed)]

    def drop(self, client: Client) -> None:
        self.waiting.pop(client, None)
        if client in self.members:
            self.members.remove(client)
        client.cut()


def run(seed: int, sync: type[GroupSync] = GroupSync, steps: int = 250) -> tuple[int, int]:
    """Live through one seed; returns how often a client was resumed, and how often it was told of a loss."""
    rng = random.Random(seed)
    network: deque = deque()
    store = Store()
    processes = [Process(name, store, network, sync) for name in "AB"]
    clients = [Client() for _ in range(3)]
    number = 0

    def publish() -> None:
        nonlocal number
        items = []
        for _ in range(rng.choice((1, 1, 2, 4))):
            number += 1
            items.append(Item(str(number).encode(), rng.random() < 0.8))
        store.publish(items)

    def reply() -> None:
        if network:
            index = rng.randrange(len(network))
            call, *arguments = network[index]
            del network[index]
            call(*arguments)

    def push() -> None:
        process = rng.choice(processes)
        if process.incoming:
            process.push()

    def read() -> None:
        client = rng.choice(clients)
        if client.inbox:
            client.read()

    def connect() -> None:
        client = rng.choice(clients)
        if client.process is None:
            rng.choice(processes).connect(client)

    def cut() -> None:
        client = rng.choice(clients)
        if client.process is not None:
            client.process.drop(client)

    def resubscribe() -> None:
        process = rng.choice(processes)
        if process.was_subscribed:
            process.subscribe()

    def die() -> None:
        process = rng.choice(processes)
        for client in clients:
            if client.process is process:
                client.cut()
        network_left = [entry for entry in network if entry[0].__self__ is not process]
        network.clear()
        network.extend(network_left)
        process.reset()

    steps_by_weight = (
        (30, publish),
        (25, push),
        (10, reply),
        (15, read),
        (10, connect),
        (5, cut),
        (1.5, lambda: rng.choice(processes).lose_subscription()),
        (2, resubscribe),
        (0.5, store.renew),
        (0.5, die),
    )
    weights, calls = zip(*steps_by_weight, strict=True)
    for _ in range(steps):
        rng.choices(calls, weights)[0]()
    _settle(store, processes, clients, network)
    return sum(client.resumed for client in clients), sum(client.lost for client in clients)


def _settle(store: Store, processes: list[Process], clients: list[Client], network: deque) -> None:
    """Let everything heal, and hold what everybody has read against what the store took."""
    for process in processes:
        process.subscribe()
    for _ in range(60):
        for process in processes:
            while process.incoming:
                process.push()
        turns = 0
        while network:
            turns += 1
            assert turns < 500, "it asks for ever"
            call, *arguments = network.popleft()
            call(*arguments)
        for client in clients:
            if client.process is None:
                processes[0].connect(client)
            while client.inbox:
                client.read()
        for process in processes:
            if process.sync.is_live and process.sync.position != store.position:
                process.ask()  # what the tick does
    for client in clients:
        assert client.position == store.position, f"{client.position} is not the end, {store.position}"
        for place, payload in client.seen.items():
            assert store.truth[place] == payload, f"{place} is not what was published"

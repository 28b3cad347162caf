"""What is said to a server of another protocol, and how its replies are told: part of a plan."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from wscore.errors import ConfigError
from wscore.foreign import Adapter, ProtocolName, ProtocolSettings
from wscore.wallclock import now_ms


class ReplyBy(StrEnum):
    """What tells which message a reply answers."""

    AUTO = "auto"  # by id where messages carry one, else in order
    ID = "id"
    KEY = "key"  # by id, which stands in a member of the reply's data
    ECHO = "echo"  # by id, which stands anywhere in the reply
    ORDER = "order"  # each connection gets its replies in the order of its messages
    NONE = "none"  # nothing is answered


class Dialogue(msgspec.Struct, frozen=True):
    """The protocol, and what every connection says: `messages` in turn, with variables and columns of `rows`.

    Only messages of `reply_type` are replies, if that is given; `reply_key` is where the id stands in their data.
    """

    protocol: ProtocolSettings
    messages: tuple[str, ...] = ()
    rows: tuple[dict[str, str], ...] = ()
    reply_by: ReplyBy = ReplyBy.AUTO
    reply_type: str | None = None
    reply_key: str | None = None

    def __repr__(self) -> str:
        return f"Dialogue({self.protocol.name}, {len(self.messages)} messages, {len(self.rows)} rows)"

    @property
    def is_ours(self) -> bool:
        """Whether it goes to a wsctl server, which gets a token and knows sessions."""
        return self.protocol.name is ProtocolName.WSCTL

    def adapter(self) -> Adapter:
        """Return the protocol."""
        return self.protocol.adapter(now_ms)


# What each protocol lets every client ask; elsewhere only people know what their server answers.
_QUESTIONS = {
    ProtocolName.WSCTL: '{"type":"ping","data":{"timestamp":{{timestamp}}},"id":"{{id}}"}',
    ProtocolName.RAW: "{{stamp}}",
    ProtocolName.GRAPHQL_WS: "query { __typename }",
    ProtocolName.PHOENIX: '[null,"{{id}}","phoenix","heartbeat",{}]',
}


def question_of(name: ProtocolName) -> str:
    """Return what is asked of a server where nothing else is given; raises ConfigError."""
    try:
        return _QUESTIONS[name]
    except KeyError:
        call = '{"method":"echo","params":["hello"]}'
        event = '{"type":"echo","data":"hello","id":"{{id}}"}'
        raise ConfigError(
            "--message",
            f"is needed: with {name} every server has messages of its own",
            f"such as --message '{call if name is ProtocolName.JSONRPC else event}'",
        ) from None


def statement_of(name: ProtocolName) -> str:
    """Return what is published where nothing else is given; raises ConfigError."""
    if name in (ProtocolName.JSON, ProtocolName.AUTO):
        raise ConfigError(
            "--message",
            f"is needed: with {name} every server has messages of its own",
            """such as --message '{"type":"say","text":"{{stamp}}"}'""",
        )
    return "{{stamp}}"

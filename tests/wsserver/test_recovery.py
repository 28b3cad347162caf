"""Sessions are resumed over real sockets: what was missed comes once and in order, or the greeting says that not."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import SECRET
from tests.wsserver.conftest import HANG_S
from wscore.principal import Principal
from wscore.recovery import RecoveryLimits
from wscore.resume import ResumeTokens
from wsserver import App, Clock, Context, GuestMode, OutboundLimits, PublishResult, SessionJoin, fan_out


class Away:
    """What a client holds while it is away."""

    def __init__(self, client, token: str) -> None:
        self.session = client.greeting["sessionId"]
        self.recovery = client.greeting["data"]["recovery"]
        self.token = token

    def fields(self, **changes: object) -> dict[str, object]:
        fields = {
            "sessionId": self.session,
            "epoch": self.recovery["epoch"],
            "seq": self.recovery["seq"],
            "resume": self.recovery["resumeToken"],
        }
        return {name: value for name, value in {**fields, **changes}.items() if value is not None}


@pytest.fixture
def resume(open_raw):
    async def open_again(url: str, away: Away, *, token: str | None = None, **changes: object):
        return await open_raw(url, token=token or away.token, resume=away.fields(**changes))

    return open_again


def recovery_of(client) -> dict:
    return client.greeting["data"]["recovery"]


async def test_the_greeting_says_where_the_session_stands_and_each_message_where_it_stands(
    start_server, open_raw, engine
):
    server = await start_server(engine=engine)
    client = await open_raw(server.url)
    recovery = recovery_of(client)
    assert set(recovery) == {"epoch", "seq", "resumeToken"}
    assert recovery["seq"] == 0
    assert recovery["resumeToken"].startswith(client.greeting["data"]["connectionId"] + ".")
    for number in (1, 2):
        await client.send("message", {"n": number})
        envelope = await client.receive()
        assert (envelope["type"], envelope["data"], envelope["seq"]) == ("message", {"n": number}, number)
    assert server.hub.publish("news", session=client.greeting["sessionId"]) == PublishResult(recovery["epoch"], 3)


async def test_only_what_fans_out_and_may_not_be_missed_takes_a_seq(start_server, open_raw, engine):
    app = App()
    app.on("message")(fan_out)

    @app.on("ask")
    def ask(ctx: Context) -> None:
        ctx.reply("answer")
        ctx.error("INVALID_MESSAGE", "no")
        ctx.publish("audio_chunk", {})
        ctx.publish("cursor", {}, lossy=True)
        ctx.publish("news")

    server = await start_server(app, engine=engine)
    client = await open_raw(server.url)
    await client.send("ask")
    await client.send("ping")
    received = [await client.receive() for _ in range(6)]
    assert {envelope["type"]: envelope.get("seq") for envelope in received} == {
        "answer": None,
        "error": None,
        "audio_chunk": None,
        "cursor": None,
        "news": 1,
        "pong": None,
    }


async def test_who_comes_back_gets_what_it_missed_and_then_what_is_new(
    start_server, open_raw, resume, guest_token, engine
):
    server = await start_server(engine=engine)
    token = guest_token()
    client = await open_raw(server.url, token=token)
    await client.send("message", 1)
    await client.receive()
    away = Away(client, token)
    await client.ws.close()
    for number in (2, 3):
        server.hub.publish("message", number, session=away.session)
    again = await resume(server.url, away, seq=1)
    recovery = recovery_of(again)
    assert (recovery["epoch"], recovery["seq"], recovery["recovered"]) == (away.recovery["epoch"], 1, True)
    server.hub.publish("message", 4, session=away.session)
    received = [await again.receive() for _ in range(3)]
    assert [(envelope["seq"], envelope["data"]) for envelope in received] == [(2, 2), (3, 3), (4, 4)]
    assert server.metrics.value("wsctl_recoveries_total", outcome="whole") == 1
    assert server.metrics.value("wsctl_replayed_total") == 2


async def test_a_replay_is_the_same_bytes_as_what_came_live(start_server, open_raw, resume, guest_token, engine):
    server = await start_server(engine=engine)
    token = guest_token()
    client = await open_raw(server.url, token=token)
    away = Away(client, token)
    texts = [' { "spaced" :  1.0e2 } ', '"\\u00e9\u00e9"', "[]"]
    for text in texts:
        await client.ws.send('{"type":"message","timestamp":1,"data":' + text + "}")
    live = [await asyncio.wait_for(client.ws.recv(), HANG_S) for _ in texts]
    again = await resume(server.url, away)
    assert [await asyncio.wait_for(again.ws.recv(), HANG_S) for _ in texts] == live


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": "other"},
        {"epoch": "!"},
        {"seq": 3},
        {"seq": -1},
        {"seq": "x"},
        {"seq": 9**99},
        {"resume": "nonsense"},
        {"resume": "%C3%A9.%00"},
    ],
)
async def test_what_is_malformed_ahead_foreign_or_not_vouched_for_is_not_recovered(
    start_server, open_raw, resume, guest_token, changes
):
    server = await start_server()
    token = guest_token()
    client = await open_raw(server.url, token=token)
    away = Away(client, token)
    for number in (1, 2):
        server.hub.publish("message", number, session=away.session)
    again = await resume(server.url, away, **changes)
    assert recovery_of(again)["recovered"] is False
    assert recovery_of(again)["seq"] == 2
    server.hub.publish("message", 3, session=away.session)
    assert (await again.receive())["seq"] == 3  # nothing was replayed


@pytest.mark.parametrize("missing", ["epoch", "seq"])
async def test_without_a_whole_position_nothing_is_said_of_recovery(
    start_server, open_raw, resume, guest_token, missing
):
    server = await start_server()
    token = guest_token()
    client = await open_raw(server.url, token=token)
    again = await resume(server.url, Away(client, token), **{missing: None})
    assert "recovered" not in recovery_of(again)


async def test_whoever_may_join_needs_no_resume_token(start_server, open_raw, resume, guest_token):
    server = await start_server()
    client = await open_raw(server.url)
    away = Away(client, guest_token())
    server.hub.publish("message", 1, session=away.session)
    again = await resume(server.url, away, resume=None)
    assert recovery_of(again)["recovered"] is True
    assert (await again.receive())["seq"] == 1


async def test_a_resume_token_lets_its_user_back_into_the_session_where_only_tokens_join(
    start_server, open_raw, resume, jwt_key, user_token, engine
):
    server = await start_server(engine=engine, jwt_key=jwt_key, session_join=SessionJoin.TOKEN, guest_secret=SECRET)
    client = await open_raw(server.url, token=user_token("alice"))
    away = Away(client, user_token("alice"))
    await client.ws.close()
    server.hub.publish("message", 1, session=away.session)
    again = await resume(server.url, away)
    assert again.greeting["sessionId"] == away.session
    assert recovery_of(again)["recovered"] is True
    assert recovery_of(again)["resumeToken"] == away.recovery["resumeToken"]  # it names where the client came from
    assert (await again.receive())["seq"] == 1
    for token, changes in (
        (user_token("alice"), {"resume": None}),
        (user_token("mallory"), {}),
        (user_token("alice"), {"resume": away.recovery["resumeToken"][:-1] + "_"}),
        (user_token("alice"), {"sessionId": "another"}),
        (user_token("alice", sid="another"), {}),
    ):
        refused = await resume(server.url, away, token=token, **changes)
        assert refused.greeting["data"]["code"] == "SESSION_CREATE_FAILED"
        assert await refused.close_code() == 4001


async def test_a_resume_token_holds_over_a_restart_where_a_secret_is_configured(
    start_server, open_raw, resume, jwt_key, user_token
):
    settings = {"jwt_key": jwt_key, "session_join": SessionJoin.TOKEN, "guest_secret": SECRET}
    first = await start_server(**settings)
    away = Away(await open_raw(first.url, token=user_token("alice")), user_token("alice"))
    second = await start_server(**settings)
    again = await resume(second.url, away)
    assert again.greeting["sessionId"] == away.session
    assert recovery_of(again)["recovered"] is False  # what the other one kept went with it


async def test_a_session_outlives_its_last_member_by_the_windows_age(start_server, open_raw, resume, guest_token):
    now_s = 1000.0
    server = await start_server(clock=Clock(now_s=lambda: now_s))
    token = guest_token()
    client = await open_raw(server.url, token=token)
    away = Away(client, token)
    await client.ws.close()
    await asyncio.wait_for(server.connections.wait_empty(), HANG_S)
    server.hub.publish("message", 1, session=away.session)
    now_s += 119
    again = await resume(server.url, away)
    assert recovery_of(again)["recovered"] is True
    now_s += 1
    assert recovery_of(await resume(server.url, away))["recovered"] is False


async def test_what_is_too_old_is_let_go_of_without_anybody_asking(start_server, open_raw):
    now_s = 1000.0
    server = await start_server(clock=Clock(now_s=lambda: now_s))
    for number in range(3000):
        server.hub.publish("message", number, session=f"s{number}")
    assert server.metrics.value("wsctl_recovery_bytes") > 3000 * 500
    now_s += 121
    async with asyncio.timeout(HANG_S):
        while server.metrics.value("wsctl_recovery_bytes"):
            await asyncio.sleep(0.01)


async def test_the_cap_over_all_sessions_holds_and_is_told(start_server, open_raw, resume, guest_token):
    server = await start_server(recovery=RecoveryLimits(memory=1 << 20))
    token = guest_token()
    client = await open_raw(server.url, token=token)
    away = Away(client, token)
    server.hub.publish("message", 1, session=away.session)
    for number in range(5000):
        server.hub.publish("message", number, session=f"s{number}")
        if number % 500 == 0:
            await asyncio.sleep(0)
    assert server.metrics.value("wsctl_recovery_bytes") <= 1 << 20
    assert server.metrics.value("wsctl_recovery_evicted_total") > 3000
    again = await resume(server.url, away)
    assert (recovery_of(again)["recovered"], recovery_of(again)["seq"]) == (False, 1)
    assert recovery_of(await resume(server.url, away, seq=1))["recovered"] is True  # it has missed nothing


async def test_a_whole_window_goes_out_to_a_client_that_reads_late(start_server, open_raw, resume, guest_token, engine):
    server = await start_server(engine=engine)
    token = guest_token()
    away = Away(await open_raw(server.url, token=token), token)
    for _ in range(4):
        server.hub.publish("message", "x" * (127 << 10), session=away.session)
        await asyncio.sleep(0)
    again = await resume(server.url, away)
    assert recovery_of(again)["recovered"] is True
    assert [(await again.receive())["seq"] for _ in range(4)] == [1, 2, 3, 4]


async def test_a_count_that_would_lose_digits_begins_anew_and_members_are_told(
    start_server, open_raw, resume, guest_token, engine
):
    server = await start_server(engine=engine)
    token = guest_token()
    client = await open_raw(server.url, token=token)
    away = Away(client, token)
    server.hub.publish("message", "last", session=away.session)
    history = server._broker._histories.get("session", away.session)
    history.seq = 2**53 - 1
    server.hub.publish("message", "first", session=away.session)
    received = [await client.receive() for _ in range(3)]
    assert [envelope["type"] for envelope in received] == ["message", "recovery", "message"]
    told = received[1]["data"]
    assert (told["seq"], told["recovered"]) == (0, False)
    assert told["epoch"] != away.recovery["epoch"]
    assert "seq" not in received[1]
    assert received[2]["seq"] == 1
    assert recovery_of(await resume(server.url, away, seq=2))["recovered"] is False


@pytest.mark.parametrize("recovery", [RecoveryLimits(messages=0), RecoveryLimits(memory=0)])
async def test_with_recovery_off_there_is_no_recovery_object_and_no_seq(
    start_server, open_raw, resume, guest_token, recovery
):
    server = await start_server(recovery=recovery)
    token = guest_token()
    client = await open_raw(server.url, token=token)
    assert "recovery" not in client.greeting["data"]
    assert server.hub.publish("message", session=client.greeting["sessionId"]) == PublishResult()
    assert "seq" not in await client.receive()


def test_a_resume_token_is_of_one_user_session_and_origin_whatever_the_fields_hold():
    tokens = ResumeTokens(b"x" * 32)
    alice = Principal("alice", False, 0)
    token = tokens.mint(alice, "lobby", "c1")
    assert tokens.origin_of(token, alice, "lobby") == "c1"
    assert tokens.origin_of(token, Principal("alice", True, 0), "lobby") is None
    assert tokens.origin_of(token, Principal("alic", False, 0), "elobby") is None
    assert tokens.origin_of(token, alice, "lobb") is None
    assert tokens.origin_of("c2" + token[2:], alice, "lobby") is None
    assert tokens.origin_of(token + "\u00e9", alice, "lobby") is None
    assert tokens.origin_of("." + token.partition(".")[2], alice, "lobby") is None
    assert ResumeTokens(b"y" * 32).origin_of(token, alice, "lobby") is None


async def test_guests_that_anybody_can_be_have_no_more_right_than_section_3_gives(
    start_server, open_raw, resume, guest_token
):
    server = await start_server(guests=GuestMode.UNSIGNED, session_join=SessionJoin.TOKEN)
    token = guest_token()
    client = await open_raw(server.url, token=token)
    away = Away(client, token)
    again = await resume(server.url, away)
    assert recovery_of(again)["recovered"] is True
    stranger = await resume(server.url, away, token=guest_token())
    assert stranger.greeting["data"]["code"] == "SESSION_CREATE_FAILED"


async def test_a_window_that_would_close_its_own_reader_is_refused(start_server):
    small = OutboundLimits(per_connection=1 << 20)
    with pytest.raises(Exception, match="--recovery-size"):
        await start_server(outbound=small, recovery=RecoveryLimits(size=(512 << 10) + 1))
    server = await start_server(outbound=OutboundLimits(per_connection=100 << 10))
    assert server.settings.recovery_limits.size == 50 << 10

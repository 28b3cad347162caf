"""wsserver.testing, used as the tests of somebody else's app would."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.pages import ROOT, blocks
from wsserver import App, ConnectRequest, Context, Hub, fan_out
from wsserver.testing import serving
from wsserver.testing.fixtures import app_server, serve_app  # noqa: F401  they are fixtures

HANG_S = 60


@pytest.fixture
def app() -> App:
    app = App()
    app.on("message")(fan_out)

    @app.on("shout")
    async def shout(ctx: Context, text: str) -> None:
        await asyncio.sleep(0)
        ctx.publish("shouted", {"text": text.upper()})

    @app.on("later")
    async def later(ctx: Context, seconds: float) -> None:
        await asyncio.sleep(seconds)
        ctx.reply("now")

    @app.on("admin")
    def admin(ctx: Context) -> None:
        ctx.reply("scopes", sorted(ctx.principal.scopes))

    @app.lifespan
    async def clock(hub: Hub) -> AsyncIterator[None]:
        async def tick() -> None:
            while True:
                await asyncio.sleep(60)
                hub.publish("tick", session="clock")

        hub.spawn(tick())
        yield

    return app


async def test_clients_by_user_scope_session_and_room(app_server):  # noqa: F811
    ann = await app_server.connect("ann", session="lobby", scopes={"admin", "author"})
    bob = await app_server.connect("bob", session="lobby", rooms=["garden"])
    guest = await app_server.connect(rooms=["garden"])
    assert (ann.user_id, ann.session_id, bob.user_id) == ("ann", "lobby", "bob")
    assert guest.user_id.startswith("guest_")
    assert (await ann.request("admin")).data == ["admin", "author"]
    await ann.send("shout", "hello")
    message = await bob.receive("shouted")
    assert message.data["text"] == "HELLO"
    assert message.user_id == "ann"
    await guest.send("message", {"text": "psst"}, room="garden")
    assert (await bob.receive("message")).data["text"] == "psst"
    await ann.expect_nothing("message")


async def test_nothing_is_expected_without_waiting_and_with_what_the_others_have_sent(app_server):  # noqa: F811
    ann, bob = await app_server.connect("ann"), await app_server.connect("bob")
    began = time.monotonic()
    for _ in range(20):
        await ann.send("shout", "is heard in another session")
        await bob.expect_nothing()
    assert time.monotonic() - began < HANG_S / 10
    with pytest.raises(AssertionError, match="IS HEARD"):
        await ann.expect_nothing()
    with pytest.raises(AssertionError, match="'shouted'"):
        await ann.expect_nothing("shouted")
    await ann.expect_nothing("message")


async def test_time_is_moved_for_timers_of_the_app_and_of_the_server(app_server):  # noqa: F811
    watcher = await app_server.connect("ann", session="clock")
    began = time.monotonic()
    await watcher.expect_nothing()
    await app_server.advance(59)
    await watcher.expect_nothing("tick")
    await app_server.advance(181)
    await app_server.settle()
    assert [message.type for message in watcher.messages] == ["tick"] * 4
    await watcher.send("later", 3600)
    await watcher.barrier()
    await app_server.advance(3601)
    assert (await watcher.receive("now")).type == "now"
    await app_server.advance(24 * 3600)
    await watcher.receive_error("AUTH_EXPIRED")
    assert await watcher.closed() == (4001, "Token expired")
    assert time.monotonic() - began < HANG_S


async def test_two_sleepers_wake_in_the_order_of_their_times(app_server):  # noqa: F811
    woken: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(name)

    sleepers = asyncio.gather(sleep("second", 20), sleep("first", 10), sleep("third", 30))
    await asyncio.sleep(0)
    await app_server.advance(25)
    assert woken == ["first", "second"]
    await app_server.advance(5)
    await sleepers
    assert woken == ["first", "second", "third"]


async def test_a_test_that_would_hang_says_what_came_instead(app_server, monkeypatch):  # noqa: F811
    monkeypatch.setattr("wsserver.testing.client.HANG_S", 0.05)
    ann = await app_server.connect("ann")
    await ann.request("admin")
    await ann.send("shout", "x")
    await ann.barrier()
    with pytest.raises(AssertionError, match=r"whisper was expected within 0\.05 s; there are .*SHOUT|X"):
        await ann.receive("whisper")
    with pytest.raises(AssertionError, match="is open still"):
        await ann.closed()
    app_server.hub.close(ann.connection_id, 4004, "out")
    assert await ann.closed() == (4004, "out")
    with pytest.raises(AssertionError, match="closed with 4004 'out'"):
        await ann.receive("whisper")


async def test_who_is_refused_or_may_not_join_fails_the_test_that_did_not_expect_it(serve_app):  # noqa: F811
    app = App()

    @app.connecting
    def check(request: ConnectRequest) -> None:
        if request.cookies.get("login") != "ok":
            request.refuse("Log in.")

    @app.on_join("secret.*")
    def nobody(ctx: Context, room: str) -> bool:
        return False

    server = await serve_app(app)
    with pytest.raises(AssertionError, match="session_created was expected, and the connection was closed with 1008"):
        await server.connect("ann")
    refused = await server.connect("ann", greet=False)
    assert (await refused.receive_error("FORBIDDEN")).data["message"] == "Log in."
    with pytest.raises(AssertionError, match=r"ann may not join secret\.room"):
        await server.connect("ann", headers={"Cookie": "login=ok"}, rooms=["secret.room"])


async def test_two_servers_and_their_end_leave_the_loop_as_it_was(serve_app, app):  # noqa: F811
    first, second = await serve_app(app), await serve_app(app, moves_clock=False)
    ann, bob = await first.connect("ann"), await second.connect("bob")
    assert ann.session_id != bob.session_id
    await ann.abort()
    await first.settle()
    with pytest.raises(AssertionError, match="without a clock to move"):
        await second.advance(1)


async def test_the_time_of_the_loop_is_its_own_again_afterwards():
    loop = asyncio.get_running_loop()
    async with serving(App()) as server:
        await server.advance(1000)
        assert loop.time() - time.monotonic() > 900
    assert abs(loop.time() - time.monotonic()) < 900


@pytest.mark.parametrize("import_mode", ["importlib", pytest.param("prepend", marks=pytest.mark.slow)])
def test_a_strangers_project_tests_its_app_as_the_page_shows(tmp_path: Path, import_mode: str):
    text = (ROOT / "docs" / "apps.md").read_text("utf-8").partition("\n## Testing an app\n")[2]
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    conftest, test = list(blocks(page, "python"))[:2]
    (tmp_path / "chat.py").write_text(next(iter(blocks(ROOT / "docs" / "apps.md", "python"))), "utf-8")
    (tmp_path / "conftest.py").write_text(conftest, "utf-8")
    (tmp_path / "test_chat.py").write_text(test, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, f"--import-mode={import_mode}", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "5 passed" in result.stdout

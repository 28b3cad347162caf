"""The file of a Unix socket: who may connect, and whose it is."""

from __future__ import annotations

import asyncio
import os
import socket
import stat

import pytest

from wsserver.server import ListenError


async def alive(path: str) -> bool:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await writer.wait_closed()
    return answer.startswith(b"HTTP/1.1 200 ")


@pytest.fixture
def umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("settings", "mode"), [({}, 0o666), ({"uds_mode": 0o660}, 0o660), ({"uds_mode": 0o600}, 0o600)]
)
async def test_the_file_has_the_mode_that_was_asked_for_whatever_the_umask(
    start_server, tmp_path, umask, settings, mode
):
    path = str(tmp_path / "s")
    await start_server(uds=path, **settings)
    assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert await alive(path)


async def test_the_file_is_never_wider_than_asked_for_and_has_its_mode_before_anybody_can_connect(
    start_server, tmp_path, monkeypatch
):
    path = str(tmp_path / "s")
    seen = []
    chmod, listen = os.chmod, socket.socket.listen

    def watched_chmod(*arguments: object) -> None:
        seen.append(("bound", stat.S_IMODE(os.stat(path).st_mode)))
        chmod(*arguments)  # type: ignore[arg-type]

    def watched_listen(*arguments: object) -> None:
        seen.append(("listens", stat.S_IMODE(os.stat(path).st_mode)))
        listen(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "chmod", watched_chmod)
    monkeypatch.setattr(socket.socket, "listen", watched_listen)
    before = os.umask(0)
    try:
        await start_server(uds=path, uds_mode=0o620)
    finally:
        os.umask(before)
    assert seen[:2] == [("bound", 0o620), ("listens", 0o620)]


async def test_the_file_that_a_dead_server_left_is_replaced_and_ours_is_removed_at_the_end(start_server, tmp_path):
    path = str(tmp_path / "s")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    server = await start_server(uds=path)
    assert await alive(path)
    await server.stop()
    assert not os.path.exists(path)


async def test_the_file_of_a_living_server_is_not_taken(start_server, tmp_path):
    path = str(tmp_path / "s")
    await start_server(uds=path)
    with pytest.raises(ListenError, match="Address already in use"):
        await start_server(uds=path)
    assert await alive(path)


async def test_a_file_that_is_no_socket_stays(start_server, tmp_path):
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(ListenError):
        await start_server(uds=str(path))
    assert path.read_text() == "mine"


async def test_a_server_leaves_the_file_alone_that_another_has_put_in_the_place_of_its_own(start_server, tmp_path):
    path = str(tmp_path / "s")
    first = await start_server(uds=path)
    os.unlink(path)
    await start_server(uds=path)
    await first.stop()
    assert await alive(path)

"""The Autobahn cases against the client's `ClientSocket`, which holds its parser, its limits and its close codes.

`Client` itself cannot be driven by them: it waits for the greeting of a wsctl server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import kosoku

from wsclient.clientsocket import ClientSocket
from wsclient.dialling import DialOptions, End
from wscore.codes import CloseCode

if TYPE_CHECKING:
    from kosoku._kosoku import CaseResult

HANG_S = 60
SILENCE_S = 20
AT_ONCE = 4  # some cases wait for a second or two and do nothing

# The protocol has no binary messages (docs/protocol.md); of another server they are taken, which has its own test.
BINARY = "1.2.*"
BINARY_CASES = 8


async def echo(url: str) -> None:
    """Answer each text message with itself until the connection ends."""
    socket = await ClientSocket.dial(url, url, DialOptions())
    try:
        while isinstance(text := await socket.receive(SILENCE_S), str):
            if not await socket.send(text, SILENCE_S):
                return
    finally:
        await socket.close()


async def case_count(url: str) -> int:
    socket = await ClientSocket.dial(url, url, DialOptions())
    text = await socket.receive(SILENCE_S)
    assert isinstance(text, str)
    assert isinstance(await socket.receive(SILENCE_S), End)
    return int(text)


async def run_cases(selection: str, without: list[str]) -> list[CaseResult]:
    async with asyncio.timeout(HANG_S), kosoku.run_fuzzingserver([selection], without, port=0) as server:
        base = f"ws://{server.address}:{server.port}"
        cases = iter(range(1, await case_count(f"{base}/getCaseCount") + 1))

        async def work() -> None:
            for case in cases:
                await echo(f"{base}/runCase?case={case}&agent=wsclient")

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        await echo(f"{base}/updateReports?agent=wsclient")
        try:
            return await server.get_result()
        except kosoku.FailureError as failure:
            return failure.results  # those of all cases


async def test_the_client_passes_the_autobahn_cases(
    group: str, case_counts: Mapping[str, int], complaints: Callable[[Collection[CaseResult], str], str]
) -> None:
    results = await run_cases(f"{group}.*", [BINARY])
    assert len(results) == case_counts[group] - (BINARY_CASES if group == "1" else 0)
    problems = complaints(results, "websockets")
    assert not problems, problems


async def test_the_client_takes_each_binary_message_of_a_server_of_another_make() -> None:
    results = await run_cases(BINARY, [])
    assert {result.remote_close_code for result in results} == {CloseCode.NORMAL}
    assert len(results) == BINARY_CASES

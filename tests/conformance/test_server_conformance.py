"""The Autobahn cases against `wsctl serve --echo-path`, which uses the production parser, with each engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import kosoku

from wsserver.settings import EngineName

if TYPE_CHECKING:
    from kosoku._kosoku import CaseResult

HANG_S = 60
AT_ONCE = 4  # some cases wait for a second or two and do nothing


async def run_cases(url: str, selection: str) -> list[CaseResult]:
    try:
        return await asyncio.wait_for(kosoku.run_fuzzingclient(url, [selection], concurrency=AT_ONCE), HANG_S)
    except kosoku.FailureError as failure:
        return failure.results  # those of all cases


async def test_the_server_passes_the_autobahn_cases(
    engine: EngineName,
    group: str,
    case_counts: Mapping[str, int],
    echo_url: Callable[[str], str],
    complaints: Callable[[Collection[CaseResult], str], str],
) -> None:
    results = await run_cases(echo_url(engine), f"{group}.*")
    assert len(results) == case_counts[group]
    problems = complaints(results, engine)
    assert not problems, problems

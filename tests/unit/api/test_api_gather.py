"""Gathered reads: who shares a query, who must not, and what becomes of failures and of those who go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from lutlab_api.adapters.gather import QUERIES_MAX, Gather


class Source:
    """Values by key; each read waits until it is let go."""

    def __init__(self) -> None:
        self.reads: list[list[int]] = []
        self.values: dict[int, str] = {}
        self.gate = asyncio.Event()
        self.problem: Exception | None = None

    async def read(self, keys: Sequence[int]) -> Mapping[int, str]:
        self.reads.append(list(keys))
        await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        return {key: self.values[key] for key in keys if key in self.values}


async def asked(gather: Gather[int, str], *keys: int) -> list[asyncio.Task[str | None]]:
    tasks = []
    for key in keys:
        tasks.append(asyncio.create_task(gather.get(key)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return tasks


async def test_one_at_a_time_is_read_at_once() -> None:
    source = Source()
    source.values, gather = {1: "one"}, Gather(source.read)
    source.gate.set()
    assert await gather.get(1) == "one"
    assert await gather.get(2) is None
    assert source.reads == [[1], [2]]


async def test_those_who_come_meanwhile_share_the_next_query() -> None:
    source = Source()
    source.values = {n: str(n) for n in range(10)}
    gather = Gather(source.read)
    tasks = await asked(gather, 1, 2, 3, 4, 3, 5)
    assert source.reads == [[1], [2]] and QUERIES_MAX == 2
    source.gate.set()
    assert await asyncio.gather(*tasks) == ["1", "2", "3", "4", "3", "5"]
    assert source.reads == [[1], [2], [3, 4, 5]]


async def test_nobody_is_told_what_was_read_before_it_was_asked() -> None:
    source = Source()
    source.values, gather = {1: "old"}, Gather(source.read)
    (first,) = await asked(gather, 1)
    (second,) = await asked(gather, 1)
    assert source.reads == [[1], [1]]  # the query under way may have seen the row before the second was asked
    source.gate.set()
    assert await asyncio.gather(first, second) == ["old", "old"]


async def test_a_failure_is_everybodys_and_passes() -> None:
    source = Source()
    gather, source.problem = Gather(source.read), ConnectionError("away")
    tasks = await asked(gather, 1, 2, 3, 4)
    source.gate.set()
    assert all(isinstance(e, ConnectionError) for e in await asyncio.gather(*tasks, return_exceptions=True))
    source.problem, source.values = None, {1: "back"}
    assert await gather.get(1) == "back"


async def test_one_who_goes_takes_nobody_along() -> None:
    source = Source()
    source.values, gather = {3: "three"}, Gather(source.read)
    tasks = await asked(gather, 1, 2, 3, 3)
    tasks[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[2]
    source.gate.set()
    assert await tasks[3] == "three"

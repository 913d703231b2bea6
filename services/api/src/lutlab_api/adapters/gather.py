"""Reads by key, gathered: requests that come while a query is under way share the next one.

With one request at a time nothing waits and nothing is gathered. With many, a round trip to the database serves all of
them, which costs both sides a fraction of one query each. A read never shares a query that began before it was asked,
so it sees whatever was committed before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

QUERIES_MAX = 2
"""Queries of one kind under way at once: the next is prepared while the database works on the one before."""
KEYS_MAX = 256
"""Most keys of one query."""


class Gather(Generic[K, V]):
    """What `read` gives for each key, asked for one by one and read many at once.

    Args:
        read: the values of keys; a key without a value is left out.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read = read
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    async def get(self, key: K) -> V | None:
        """The value of a key, None if it has none. Raises: what `read` raises."""
        future = self._asked.get(key)
        if future is None:
            future = self._asked[key] = asyncio.get_running_loop().create_future()
            if len(self._under_way) < QUERIES_MAX:
                self._begin()
        return await asyncio.shield(future)  # others may wait for it too

    def _begin(self) -> None:
        task = asyncio.create_task(self._answer())
        self._under_way.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._asked:
            self._begin()

    async def _answer(self) -> None:
        keys = list(self._asked)[:KEYS_MAX]
        if not keys:  # another query that began in the same turn of the loop has them
            return
        futures = {key: self._asked.pop(key) for key in keys}
        try:
            found = await self._read(keys)
        except Exception as error:
            for future in futures.values():
                future.set_exception(error)
                future.exception()  # whoever asked may be gone
        else:
            for key, future in futures.items():
                future.set_result(found.get(key))
        finally:
            for future in futures.values():
                future.cancel()  # does nothing to one that is answered; the loop is closing for the others

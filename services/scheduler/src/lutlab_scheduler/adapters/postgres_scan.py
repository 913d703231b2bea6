"""Reading the log fast: COPY sends each event as one line of JSON, and a block of lines is decoded at once.

While a block is decoded and folded, Postgres goes on sending, as far as the buffers of the connection reach.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg

from lutlab_events.codec import decode_recorded
from lutlab_events.envelope import Recorded

BLOCK_BYTES = 1 << 16
"""So little that the events of a block are still in the processor's cache when they are folded: with blocks of a
megabyte, decoding takes twice as long."""
TIMEOUT_S = 3600.0
"""Of one scan, i.e. of hundreds of millions of events."""

LINE = """
'[' || position || ',' || version || ',',
to_json(stream),
case when version = 1 then ',"' || correlation_id || '",' else ',null,' end || to_json(site)
|| ',"' || (at at time zone 'UTC') || 'Z",',
data,
']'
"""
"""An event as the JSON of `Recorded`, in columns that COPY puts one behind the other: cheaper than to join them first.
It holds no line break and no other control character, for JSON escapes them."""
SQL_ALL = f"select {LINE} from events where position > $1 order by position"  # noqa: S608 - constants
SQL_STREAMS = f"select {LINE} from events where stream = any($1::text[]) order by position"  # noqa: S608 - constants
SQL_SINCE = (
    f"select {LINE} from unnest($1::text[], $2::int[]) as k(name, seen), "  # noqa: S608 - constants
    "lateral (select * from events where stream = name and version > seen order by version offset 0) as later "
    "order by position"
)
"""Stream by stream over the index, whatever the planner thinks: it cannot know how little is later."""
SQL_KINDS = (
    f"select {LINE} from events where position > $1 and position <= $2 "  # noqa: S608 - constants
    "and split_part(stream, '-', 1) = any($3::text[]) order by position limit $4"
)


async def scan(
    connection: asyncpg.Connection, query: str, *arguments: Any, take: Callable[[list[Recorded]], None]
) -> None:
    """Give `take` the events of a query of `LINE`, block by block.

    The connection can do nothing else meanwhile.

    Raises:
        Undecodable: an event is of no known type, current or old.
        asyncpg.PostgresError, OSError: the connection broke.
    """
    pieces = bytearray()

    async def arrived(data: bytes) -> None:
        nonlocal pieces
        pieces += data
        if len(pieces) >= BLOCK_BYTES:
            block, pieces = pieces, bytearray()
            end = block.rindex(b"\n") + 1
            pieces += block[end:]
            take(decode_recorded(memoryview(block)[:end]))

    # A format that leaves the columns as they are, for nothing in them needs quoting; a tab more means nothing in JSON.
    await connection.copy_from_query(
        query, *arguments, output=arrived, format="csv", quote="\x01", delimiter="\t", timeout=TIMEOUT_S
    )
    if pieces:
        take(decode_recorded(pieces))

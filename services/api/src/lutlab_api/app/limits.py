"""Rate limits in fixed windows, shared by all API processes (docs/adr/0005-rate-limits.md).

A process takes units of a window in small chunks, with one atomic statement each, and hands them out from memory. So
the sum over all processes never passes the limit, and most requests cost no round trip.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

import structlog

from lutlab_api.app.ports import Clock, Shared
from lutlab_api.domain.errors import Unavailable

log = structlog.get_logger(__name__)

CHUNKS = 20
"""A window is handed out in about this many chunks: what a process that stops takes with it is at most one."""
BUCKETS_MAX = 20_000
TAKE_TIMEOUT_S = 0.25
"""After this the process counts alone for the rest of the window: a slow database must not slow every request."""


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `limit` units in `window_s` seconds."""

    name: str
    limit: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request is told: whether it may go on, and how much is left until when (seconds since 1970)."""

    allowed: bool
    limit: int
    remaining: int
    reset_at_s: int
    retry_after_s: int


class _Bucket:
    """What this process knows of one bucket in one window."""

    def __init__(self, window_start: int) -> None:
        self.window_start = window_start
        self.in_hand = 0
        self.taken = 0
        self.alone = False
        self.lock = asyncio.Lock()


class Limiter:
    """Grants requests."""

    def __init__(self, shared: Shared, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def take(self, rule: Rule, who: str, *, alone: bool = False) -> Grant:
        """Take one unit for `who`; `alone` counts in this process only."""
        now_s = self._clock.now().timestamp()
        start = int(now_s) // rule.window_s * rule.window_s
        bucket = self._bucket(f"{rule.name}:{who}", start)
        if bucket.in_hand == 0 and bucket.taken < rule.limit:
            async with bucket.lock:
                if bucket.in_hand == 0 and bucket.taken < rule.limit:
                    await self._refill(bucket, rule, who, alone)
        allowed = bucket.in_hand > 0
        if allowed:
            bucket.in_hand -= 1
        return Grant(
            allowed=allowed,
            limit=rule.limit,
            remaining=max(0, rule.limit - bucket.taken) + bucket.in_hand,
            reset_at_s=start + rule.window_s,
            retry_after_s=max(1, int(start + rule.window_s - now_s) + 1),
        )

    def _bucket(self, name: str, start: int) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None or bucket.window_start != start:
            bucket = self._buckets[name] = _Bucket(start)
            self._buckets.move_to_end(name)
            if len(self._buckets) > BUCKETS_MAX:
                self._buckets.popitem(last=False)
        return bucket

    async def _refill(self, bucket: _Bucket, rule: Rule, who: str, alone: bool) -> None:
        chunk = max(1, rule.limit // CHUNKS)
        if alone or bucket.alone:
            taken = bucket.taken + chunk
        else:
            try:
                async with asyncio.timeout(TAKE_TIMEOUT_S):
                    taken = await self._shared.take(f"{rule.name}:{who}", bucket.window_start, chunk)
            except (Unavailable, TimeoutError):
                log.warning("rate_limit_counted_alone", rule=rule.name)
                bucket.alone = True
                taken = bucket.taken + chunk
        before = taken - chunk
        bucket.in_hand = max(0, min(taken, rule.limit) - before)
        bucket.taken = min(taken, rule.limit)

"""The delivery: from the log to deliveries, from deliveries to endpoints, each endpoint for itself.

Nothing is kept in memory that matters. Deliveries and positions are stored in one transaction, so a crash repeats an
attempt at worst, under the same id. Each endpoint has its own slots: one that hangs delays nobody else.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from lutlab_events.ids import derived
from lutlab_hooks.secrets import BoxUnopened, Vault, signatures
from lutlab_webhooks.app.ports import (
    Attempt,
    Clock,
    Delivery,
    Disabler,
    Endpoint,
    Progress,
    Reply,
    Sender,
    Store,
    StoreUnavailable,
)
from lutlab_webhooks.domain.happenings import Recorded, body_of, happenings, is_wanted
from lutlab_webhooks.domain.schedule import next_attempt, parse_retry_after

log = structlog.get_logger(__name__)

WINDOW_MAX = 4096
"""The newest events in memory: endpoints that are up to date need no query of their own."""
READ_MAX = 500
PENDING_MAX = 1000
"""Deliveries an endpoint may owe; beyond it stays where it is in the log, which keeps the rest for it."""
SLOTS = 4
"""Attempts at once for one endpoint."""
GONE = 410
ERROR_CHARS_MAX = 256
UNRECORDED_WAIT_S = 5.0
"""Until an attempt that could not be recorded is made again, so that no endpoint gets it as fast as it answers."""
USER_AGENT = "lutlab-webhooks/1"


class Courier:
    """Delivers."""

    def __init__(
        self,
        *,
        store: Store,
        sender: Sender,
        disabler: Disabler,
        vault: Vault,
        clock: Clock,
        jitter: Callable[[], float],
        disable_after: timedelta,
        attempted: Counter[str],
    ) -> None:
        """
        Args:
            jitter: 0 to 1, random.
            disable_after: an endpoint that fails for so long is disabled.
            attempted: counts attempts by outcome, for the metrics.
        """
        self._store = store
        self._sender = sender
        self._disabler = disabler
        self._vault = vault
        self._clock = clock
        self._jitter = jitter
        self._disable_after = disable_after
        self._window: deque[Recorded] = deque(maxlen=WINDOW_MAX)
        self._under_way: dict[UUID, Delivery] = {}
        self._ended: set[UUID] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._attempted = attempted
        self.woken = asyncio.Event()
        """Set when there may be something to do."""

    async def tick(self) -> None:
        """Take in what happened and begin what is due. Raises: StoreUnavailable."""
        endpoints = await self._store.endpoints(self._clock.now(), PENDING_MAX)
        await self._take_in(endpoints)
        await self._begin_due(endpoints)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def stop(self) -> None:
        """Give up what is under way; it is attempted again by whoever is next."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- from the log to deliveries ----------------------------------------------------------------

    async def _take_in(self, endpoints: Sequence[Endpoint]) -> None:
        positions: dict[UUID, int] = {}
        replays: dict[UUID, int | None] = {}
        new: list[Delivery] = []
        again: list[Delivery] = []
        for endpoint in endpoints:
            if endpoint.pending >= PENDING_MAX:
                continue
            events = await self._after(endpoint.position)
            if events:
                positions[endpoint.webhook_id] = events[-1].position
                new += _deliveries(endpoint, events)
            if endpoint.replay is not None:
                after, until = endpoint.replay
                found = [e for e in await self._store.read(after, READ_MAX) if e.position <= until]
                replays[endpoint.webhook_id] = found[-1].position if found and found[-1].position < until else None
                again += _deliveries(endpoint, found)
        if positions or replays:
            progress = Progress(positions=positions, replays=replays, deliveries=new, repeated=again)
            await self._store.advance(progress, self._clock.now())

    async def _after(self, position: int) -> Sequence[Recorded]:
        """Up to `READ_MAX` events after a position."""
        if self._window and self._window[0].position <= position + 1:
            last = self._window[-1].position
            if position >= last:
                self._window.extend(await self._store.read(last, READ_MAX))
                last = self._window[-1].position
            start = position + 1 - self._window[0].position
            if start >= 0:
                return [self._window[i] for i in range(start, min(start + READ_MAX, len(self._window)))]
        events = await self._store.read(position, READ_MAX)
        if events and (not self._window or self._window[-1].position < events[0].position):
            self._window.clear()
            self._window.extend(events)
        return events

    # -- from deliveries to endpoints --------------------------------------------------------------

    async def _begin_due(self, endpoints: Sequence[Endpoint]) -> None:
        busy = Counter(delivery.webhook_id for delivery in self._under_way.values())
        room = {e.webhook_id: SLOTS for e in endpoints if busy[e.webhook_id] < SLOTS}
        if not room:
            return
        by_id = {endpoint.webhook_id: endpoint for endpoint in endpoints}
        ordered = [e.webhook_id for e in endpoints if e.ordered]
        self._ended.clear()
        for delivery in await self._store.due(room, ordered, self._clock.now()):
            endpoint = by_id[delivery.webhook_id]
            # What ended while the store was asked may be due in its answer, which is older.
            if delivery.delivery_id in self._under_way or delivery.delivery_id in self._ended:
                continue
            if busy[endpoint.webhook_id] >= SLOTS:
                continue
            busy[endpoint.webhook_id] += 1
            self._under_way[delivery.delivery_id] = delivery
            task = asyncio.create_task(self._deliver(endpoint, delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, endpoint: Endpoint, delivery: Delivery) -> None:
        release, wait_s = partial(self._release, delivery.delivery_id), 0.0
        try:
            await self._attempt(endpoint, delivery)
        except StoreUnavailable as error:  # the attempt is not recorded, so it is made again
            log.warning("attempt_unrecorded", delivery_id=str(delivery.delivery_id), reason=str(error))
            wait_s = UNRECORDED_WAIT_S
        finally:
            if wait_s:
                asyncio.get_running_loop().call_later(wait_s, release)
            else:
                release()

    def _release(self, delivery_id: UUID) -> None:
        del self._under_way[delivery_id]
        self._ended.add(delivery_id)
        self.woken.set()

    async def _attempt(self, endpoint: Endpoint, delivery: Delivery) -> None:
        at, started = self._clock.now(), time.monotonic()
        shown, reply = await self._send(endpoint, delivery, at)
        attempt = Attempt(
            attempt_id=derived("attempt", delivery.delivery_id, at.isoformat()),
            at=at,
            duration_ms=round((time.monotonic() - started) * 1000),
            request_headers=shown,
            reply=reply,
        )
        now = self._clock.now()
        status, next_at = self._verdict(delivery, reply, now)
        await self._store.record(delivery, attempt, status=status, next_at=next_at, now=now)
        self._attempted["delivered" if status == "delivered" else "failed"] += 1
        log.info(
            "webhook_attempted",
            webhook_id=str(endpoint.webhook_id),
            delivery_id=str(delivery.delivery_id),
            attempt=delivery.attempts + 1,
            status=status,
            status_code=reply.status_code,
            error=reply.error,
        )
        if status != "delivered":
            await self._disable_if_hopeless(endpoint, reply, now)

    async def _send(self, endpoint: Endpoint, delivery: Delivery, at: datetime) -> tuple[dict[str, str], Reply]:
        body = delivery.body.encode()
        shown = {"content-type": "application/json", "user-agent": USER_AGENT}
        try:
            secrets = [self._vault.open(endpoint.webhook_id, box) for box in endpoint.boxes]
            signed = signatures(str(delivery.delivery_id), int(at.timestamp()), body, secrets)
        except BoxUnopened as error:
            return shown, Reply(error=str(error))
        try:
            reply = await self._sender.send(endpoint.url, {**shown, **signed}, body)
        except Exception as error:
            # A defect, but an attempt all the same: one that were not recorded would be made again at once, for ever.
            log.exception("attempt_crashed", delivery_id=str(delivery.delivery_id))
            reply = Reply(error=f"the attempt failed: {error!r}"[:ERROR_CHARS_MAX])
        return {**shown, **{k: v for k, v in signed.items() if "ignature" not in k}}, reply

    def _verdict(self, delivery: Delivery, reply: Reply, now: datetime) -> tuple[str, datetime]:
        if reply.status_code is not None and 200 <= reply.status_code < 300:
            return "delivered", now
        asked = parse_retry_after((reply.headers or {}).get("retry-after"), now)
        next_at = next_attempt(delivery.attempts + 1, now, self._jitter(), asked)
        return ("failed", now) if next_at is None else ("pending", next_at)

    async def _disable_if_hopeless(self, endpoint: Endpoint, reply: Reply, now: datetime) -> None:
        since = endpoint.failing_since
        if reply.status_code == GONE:
            await self._disabler.disable(endpoint, "endpoint_gone", f"{endpoint.url} answered 410 Gone")
        elif since is not None and now - since >= self._disable_after:
            why = f"no delivery to {endpoint.url} has succeeded since {since.isoformat()}"
            await self._disabler.disable(endpoint, "endpoint_failed", why)


def _deliveries(endpoint: Endpoint, events: Sequence[Recorded]) -> list[Delivery]:
    """What an endpoint gets of these events; the same event always gives the same delivery."""
    found: list[Delivery] = []
    for event in events:
        for happening in happenings(event):
            if not is_wanted(happening, endpoint.wanted, endpoint.owner):
                continue
            ident = derived("webhook", endpoint.webhook_id, event.position, happening.topic.value)
            found.append(
                Delivery(
                    delivery_id=ident,
                    webhook_id=endpoint.webhook_id,
                    position=event.position,
                    subject=event.stream,
                    topic=happening.topic.value,
                    body=body_of(happening, ident),
                )
            )
    return found

"""The agent's work queue: fetches program work, keeps it alive while it is carried out, acknowledges it afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_board_agent.app.program_board import Later, ProgramService
from lutlab_events import codec, subjects
from lutlab_events.work import ProgramWork
from lutlab_transport.metrics import handling
from lutlab_transport.pull import Pull
from lutlab_transport.streams import ensure_consumer
from lutlab_transport.work import NATS_ERRORS, bury, keep_alive

log = structlog.get_logger(__name__)

RETRY_WAITS_S = (0.25, 0.5, 1.0, 2.0, 5.0)
IN_PROGRESS_S = subjects.PROGRAM_ACK_WAIT_S / 3
CRASH_RETRY_S = 5.0
DELIVERIES_PER_BOARD = 4
"""Work a board may have in hand: one running, newer orders that supersede it, and their repetitions."""


class WorkQueue:
    """One agent's durable consumer on the WORK stream.

    Args:
        nc: the connection.
        service: carries the work out.
        boards: how many boards the agent has.
    """

    def __init__(self, nc: Client, service: ProgramService, *, site: str, agent_id: str, boards: int) -> None:
        self._nc = nc
        self._js = nc.jetstream()
        self._service = service
        self._site = site
        self._agent_id = agent_id
        self._max_in_hand = max(1, boards) * DELIVERIES_PER_BOARD
        self._in_hand: set[asyncio.Task[None]] = set()
        self._reconnected = asyncio.Event()

    def reconnected(self) -> None:
        """The server restarted: a fetch that was waiting waits for nothing, and the stream may be gone."""
        self._reconnected.set()

    async def run(self) -> None:
        """Fetch for ever, through restarts of NATS and before the scheduler has made the stream; cancel it to stop."""
        failures = 0
        while True:
            try:
                self._reconnected.clear()
                async with (await self._pull()).open() as pull:
                    failures = 0
                    await self._until_reconnected(self._fetch(pull))
            except NATS_ERRORS as error:
                wait_s = RETRY_WAITS_S[min(failures, len(RETRY_WAITS_S) - 1)]
                failures += 1
                log.warning("work_queue_unavailable", error=repr(error), wait_s=wait_s)
                await asyncio.sleep(wait_s)

    async def finish(self, grace_s: float) -> None:
        """Let work in hand end by itself for a while, then abandon it; it will be delivered again."""
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=grace_s)
        for task in self._in_hand:
            task.cancel()
        await asyncio.gather(*self._in_hand, return_exceptions=True)

    async def _pull(self) -> Pull:
        durable = subjects.agent_durable(self._site, self._agent_id)
        await ensure_consumer(
            self._js,
            stream=subjects.WORK.name,
            durable=durable,
            subject=subjects.agent_work(self._site, self._agent_id),
            ack_wait_s=subjects.PROGRAM_ACK_WAIT_S,
            max_ack_pending=self._max_in_hand,
        )
        return Pull(self._nc, stream=subjects.WORK.name, durable=durable, batch_max=self._max_in_hand)

    async def _until_reconnected(self, fetching: Coroutine[None, None, None]) -> None:
        tasks = {asyncio.create_task(fetching), asyncio.create_task(self._reconnected.wait())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, pull: Pull) -> None:
        """Take messages until the consumer fails."""
        log.info("work_queue_bound", agent_id=self._agent_id)
        while True:
            for message in await pull.batch():
                task = asyncio.create_task(self._handle(message))
                self._in_hand.add(task)
                task.add_done_callback(self._in_hand.discard)

    async def _handle(self, message: Msg) -> None:
        tries = message.metadata.num_delivered
        try:
            work = codec.decode_work(message.data)
        except codec.Undecodable as error:
            log.error("work_undecodable", error=str(error))
            await bury(self._js, self._site, message)
            return
        if not isinstance(work, ProgramWork):
            log.error("work_unexpected", kind=type(work).__name__)
            await bury(self._js, self._site, message)
            return
        alive = asyncio.create_task(keep_alive(message, every_s=IN_PROGRESS_S))
        try:
            attributes: dict[str, Any] = {"board": work.board_key, "epoch": work.epoch}
            with handling("program", headers=message.headers, trace=work.correlation_id, **attributes) as handled:
                outcome = await self._service.handle(work, tries=tries)
                handled.outcome = "postponed" if isinstance(outcome, Later) else "done"
            if isinstance(outcome, Later):
                await message.nak(delay=outcome.wait_s)
            else:
                await message.ack()
        except asyncio.CancelledError:
            # The agent stops. Whoever serves the board next need not wait for the acknowledgement to run out.
            with contextlib.suppress(*NATS_ERRORS):
                await message.nak()
            raise
        except NATS_ERRORS as error:
            log.warning("work_ack_lost", board_key=work.board_key, epoch=work.epoch, error=repr(error))
        except Exception:
            log.exception("work_crashed", board_key=work.board_key, epoch=work.epoch)
            with contextlib.suppress(*NATS_ERRORS):
                await message.nak(delay=CRASH_RETRY_S)
        finally:
            alive.cancel()

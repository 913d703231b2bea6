"""The agent as one whole: its parts around one NATS connection, their order of start and stop.

With `__main__` it is the composition root: nothing else constructs adapters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import structlog
from nats.aio.client import Client

from lutlab_board_agent.adapters.nats_io import BusServer, Heartbeats, NatsBitstreams, NatsKeys
from lutlab_board_agent.adapters.nats_work import WorkQueue
from lutlab_board_agent.adapters.tcp_bridge import TcpBridges
from lutlab_board_agent.app.ports import Clock, Commands, Door, Ids, Memories, Programmer, SerialPorts, Ticks
from lutlab_board_agent.app.program_board import ProgramService
from lutlab_board_agent.app.register import Registration
from lutlab_board_agent.app.seat import Seat
from lutlab_board_agent.app.serve_bus import BoardBus, BusService
from lutlab_board_agent.app.watch_board import BoardWatch
from lutlab_board_agent.domain.lab import LabBoard
from lutlab_transport.metrics import Sample

log = structlog.get_logger(__name__)

STOP_GRACE_S = 5.0
"""How long a load under way may still take when the agent is asked to stop."""


class Agent:
    """Serves boards until stopped.

    Args:
        nc: a connected NATS client; closed by its owner.
        boards: from the lab file.
        incarnation: of this process.
        bridge_host: where boards with a `bridge_port` are reached over TCP.
    """

    def __init__(
        self,
        nc: Client,
        boards: Sequence[LabBoard],
        *,
        site: str,
        agent_id: str,
        incarnation: UUID,
        programmer: Programmer,
        ports: SerialPorts,
        memories: Memories,
        commands: Commands,
        clock: Clock,
        ticks: Ticks,
        ids: Ids,
        bridge_host: str,
        door: Door | None = None,
    ) -> None:
        seats = [Seat(board, ports, memories) for board in boards]
        self._buses = {
            seat.board.key: BoardBus(seat, commands, ticks, bridge_host=bridge_host, door=door) for seat in seats
        }
        self._bridges = TcpBridges(self._buses.values(), host=bridge_host, ids=ids, keys=NatsKeys(nc, site=site))
        self._registration = Registration(seats, commands, agent_id=agent_id, incarnation=incarnation)
        self._watches = [
            BoardWatch(bus, commands, agent_id, self._registration.register) for bus in self._buses.values()
        ]
        programs = ProgramService(
            self._buses,
            site=site,
            agent_id=agent_id,
            programmer=programmer,
            bitstreams=NatsBitstreams(nc),
            commands=commands,
            clock=clock,
        )
        self._work = WorkQueue(nc, programs, site=site, agent_id=agent_id, boards=len(boards))
        self._server = BusServer(nc, BusService(self._buses), site=site, agent_id=agent_id)
        self._heartbeats = Heartbeats(nc, self._registration, site=site, agent_id=agent_id, incarnation=incarnation)

    def gauges(self) -> Iterator[Sample]:
        """How the boards and their lines do."""
        for key, bus in self._buses.items():
            labels = {"board": key}
            yield Sample("lutlab_board_attached", float(bus.seat.attached), labels, "1 for a board that is plugged in")
            yield Sample("lutlab_board_epoch", bus.seat.memory.epoch, labels, "the newest load of the board")
            for name, value in bus.seat.counters.as_dict().items():
                if isinstance(value, int):
                    yield Sample(
                        "lutlab_line", value, {**labels, "counter": name}, "totals of the line since the start"
                    )

    def reconnected(self) -> None:
        """To be called when the NATS client connected again."""
        self._work.reconnected()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set or a part breaks (its exception is raised); boards keep running what they run."""
        lanes = [asyncio.create_task(bus.lane.run()) for bus in self._buses.values()]
        serving = asyncio.create_task(self._serve())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([serving, stopping, *lanes], return_when=asyncio.FIRST_COMPLETED)
            for task in (serving, *lanes):
                if task.done():
                    task.result()  # raises: none of them ends by itself
        finally:
            await _cancel(serving, stopping)
            await self._server.stop()
            await self._bridges.stop()
            await self._work.finish(STOP_GRACE_S)
            for bus in self._buses.values():
                await bus.close()
            await _cancel(*lanes)
            log.info("agent_stopped")

    async def _serve(self) -> None:
        """Look at the boards, serve their bus at once (sessions may live), register, then take work."""
        await asyncio.gather(*(watch.start() for watch in self._watches))
        await self._server.start()
        await self._bridges.start()
        await self._heartbeats.start()
        await self._registration.register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heartbeats.beat())
            group.create_task(self._heartbeats.register_when_wanted())
            group.create_task(self._work.run())
            for watch in self._watches:
                group.create_task(watch.run())


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

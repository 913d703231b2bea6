"""What Prometheus is told of the lab while this scheduler leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from lutlab_events.values import Withdrawal
from lutlab_scheduler.app.tail import Tail
from lutlab_scheduler.app.world import World
from lutlab_transport.metrics import Sample


class Gauges:
    """Reads the world whenever it is asked."""

    def __init__(self) -> None:
        self._led: tuple[World, Tail] | None = None

    @contextmanager
    def leading(self, world: World, tail: Tail) -> Iterator[None]:
        """For the time of the block there is something to tell."""
        self._led = (world, tail)
        try:
            yield
        finally:
            self._led = None

    def read(self) -> Iterator[Sample]:
        """One sample a state; nothing of the lab from a scheduler that stands by."""
        yield Sample("lutlab_leading", float(self._led is not None), help="1 in the scheduler that leads")
        if self._led is None:
            return
        world, tail = self._led
        yield Sample("lutlab_log_position", tail.position, help="the end of the log")
        away = {board.fpga_id: board.absence.why for board in world.boards() if board.absence}
        known = [board for board in world.boards() if away.get(board.fpga_id) is not Withdrawal.REMOVED]
        for state, count in Counter(board.state.value for board in known).items():
            yield Sample("lutlab_boards", count, {"state": state}, "boards by state, without those that were forgotten")
        for why in (Withdrawal.MAINTENANCE, Withdrawal.QUARANTINE):
            count = sum(reason is why for reason in away.values())
            yield Sample("lutlab_boards_out_of_service", count, {"why": why.value}, "boards that get no new jobs")
        for (kind, state), count in Counter((j.type.value, j.state.value) for j in world.open_jobs()).items():
            yield Sample("lutlab_jobs_open", count, {"type": kind, "state": state}, "jobs that have not ended")
        yield Sample("lutlab_agents", len(world.agents()), help="agents that ever registered")

"""What is shown of boards that get no jobs: to Prometheus, and in the view."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import scheduler_given as g

from lutlab_events import events as e
from lutlab_events.ids import board_stream
from lutlab_events.values import Withdrawal
from lutlab_scheduler.adapters.gauges import Gauges
from lutlab_scheduler.app.projections import project
from lutlab_scheduler.app.world import World


def told(world: World) -> dict[tuple[str, str], float]:
    gauges, tail = Gauges(), SimpleNamespace(position=7)
    with gauges.leading(world, tail):  # type: ignore[arg-type]
        samples = list(gauges.read())
    return {(sample.name, "".join((sample.labels or {}).values())): sample.value for sample in samples}


def world(*withdrawn: Withdrawal | None) -> World:
    """A board for each reason, out of service for it."""
    made = World()
    for fpga_id, why in enumerate(withdrawn):
        happened: list[Any] = [
            e.BoardRegistered(fpga_id=fpga_id, board_key=f"b{fpga_id}", agent_id=g.AGENT, profile=g.PROFILE),
        ]
        if why is Withdrawal.REMOVED:
            happened.append(e.BoardLost(agent_id=g.AGENT, reason="unplugged"))
        if why is not None:
            happened.append(e.BoardWithdrawn(why=why, by="root", reason="a test"))
        for envelope in g.envelopes(board_stream(fpga_id), happened):
            made.apply(envelope)
    return made


def test_boards_out_of_service_are_told_and_forgotten_ones_are_not() -> None:
    samples = told(world(None, Withdrawal.QUARANTINE, Withdrawal.MAINTENANCE, Withdrawal.REMOVED))
    assert samples["lutlab_boards", "idle"] == 3
    assert ("lutlab_boards", "lost") not in samples
    assert samples["lutlab_boards_out_of_service", "quarantine"] == 1
    assert samples["lutlab_boards_out_of_service", "maintenance"] == 1


def test_that_none_is_out_of_service_is_told_too() -> None:
    samples = told(world(None))
    assert [samples["lutlab_boards_out_of_service", why] for why in ("quarantine", "maintenance")] == [0, 0]


def test_a_board_that_waits_for_its_base_design_has_no_bitstream_in_the_view() -> None:
    """By that the API tells what it waits for (`base_design_missing`)."""
    shown = {name: project(g.board(events)).values for name, events in g.BOARDS.items()}
    waiting = [name for name, row in shown.items() if row["state"] == "resetting" and row["bitstream"] is None]
    assert waiting == ["waiting-for-base"]

"""Fencing: which work and which traffic may reach a board."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutlab_board_agent.domain.fencing import BoardMemory, Verdict, begin, finish, judge, lease_refusal, lost_design
from lutlab_events.busmsg import Lease
from lutlab_events.values import BitstreamRef
from lutlab_events.work import ProgramWork

ALICE, BOB = UUID(int=1), UUID(int=2)


def work(epoch: int, *, digest: str = "d" * 64, session: UUID | None = ALICE) -> ProgramWork:
    bitstream = BitstreamRef(
        digest=digest, size_bytes=1, build_key="k", build_id=7, profile="lfe5u-25f", clk_hz=50_000_000, baud=12_500_000
    )
    return ProgramWork(
        fpga_id=3,
        board_key="bench-0",
        epoch=epoch,
        correlation_id=UUID(int=9),
        bitstream=bitstream,
        deadline_at=datetime(2030, 1, 1, tzinfo=UTC),
        session_id=session,
        session_ttl_s=60.0,
    )


def lease(epoch: int, session: UUID = ALICE) -> Lease:
    return Lease(fpga_id=3, session_id=session, epoch=epoch)


def test_verdicts() -> None:
    memory = begin(work(5))
    assert judge(BoardMemory(), work(1)) is Verdict.NEW
    assert judge(memory, work(4)) is Verdict.STALE
    assert judge(memory, work(6)) is Verdict.NEW
    assert judge(memory, work(5)) is Verdict.UNFINISHED
    assert judge(finish(memory), work(5)) is Verdict.FINISHED
    assert judge(finish(memory), work(5, digest="e" * 64)) is Verdict.UNFINISHED
    assert judge(lost_design(finish(memory)), work(5)) is Verdict.UNFINISHED


@given(st.lists(st.integers(min_value=1, max_value=20), min_size=1, max_size=30))
def test_epochs_never_go_back_whatever_the_order(epochs: list[int]) -> None:
    memory = BoardMemory()
    for seen, epoch in enumerate(epochs):
        if judge(memory, work(epoch)) is Verdict.NEW:
            memory = begin(work(epoch))
        assert memory.epoch == max(epochs[: seen + 1])


def test_only_the_loaded_session_of_the_current_epoch_may_talk() -> None:
    running = finish(begin(work(5)))
    assert lease_refusal(running, lease(5)) is None
    assert "epoch 5, the lease is of epoch 4" in str(lease_refusal(running, lease(4)))
    assert "epoch 5, the lease is of epoch 6" in str(lease_refusal(running, lease(6)))
    assert "does not hold the board" in str(lease_refusal(running, lease(5, BOB)))
    assert "does not run" in str(lease_refusal(begin(work(5)), lease(5)))
    assert "does not run" in str(lease_refusal(lost_design(running), lease(5)))
    assert "base design" in str(lease_refusal(finish(begin(work(5, session=None))), lease(5)))
    assert lease_refusal(BoardMemory(), lease(0)) is not None


def test_a_new_load_takes_the_old_session_away_before_anything_is_loaded() -> None:
    old, new = finish(begin(work(5))), begin(work(6, session=BOB))
    assert lease_refusal(old, lease(5)) is None
    assert lease_refusal(new, lease(5)) is not None
    assert lease_refusal(new, lease(6, BOB)) is not None
    assert lease_refusal(finish(new), lease(6, BOB)) is None


@pytest.mark.parametrize("memory", [BoardMemory(), finish(begin(work(5)))])
def test_memory_survives_json(memory: BoardMemory) -> None:
    assert msgspec.json.decode(msgspec.json.encode(memory), type=BoardMemory) == memory

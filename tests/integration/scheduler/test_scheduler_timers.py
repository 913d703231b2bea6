"""What happens by itself: sessions end, loads and builds run out of time, resets are repeated, agents fall silent."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from scheduler_lab import bitstream, lab_with_scheduler

from lutlab_events import commands as c
from lutlab_scheduler.settings import Settings


async def test_a_session_that_is_not_used_ends_and_the_board_is_reset(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings.model_copy(update={"session_ttl_s": 0.4})) as lab:
        await lab.base()
        await lab.register("b0")
        await lab.reserve()
        reset = await lab.program_work()
        assert (reset.epoch, reset.session_id) == (2, None)
        assert (await lab.programmed(reset)).accepted
        await lab.board(0, "idle")
        assert "board.session_ended.v1" in await lab.event_types("board-0")


async def test_use_keeps_a_session_alive(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings.model_copy(update={"session_ttl_s": 2.0})) as lab:
        await lab.base()
        await lab.register("b0")
        await lab.reserve()
        board = await lab.board(0, "reserved")
        for _ in range(45):  # altogether longer than a session that is not used; a busy machine may pause between two
            used = c.ReportSessionUsed(fpga_id=0, session_id=board["session_id"], epoch=1)
            assert (await lab.ask(used)).code in {"ok", "nothing_to_do"}
            await asyncio.sleep(0.05)
        again = await lab.board(0, "reserved")
        assert again["session_expires_at"] > board["session_expires_at"]


async def test_a_load_that_is_never_reported_fails_and_the_board_heals(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings.model_copy(update={"program_deadline_s": 2.0})) as lab:
        await lab.base()
        await lab.register("b0")
        job_id = await lab.submit()
        assert (await lab.built(await lab.build_work(), b"bits")).accepted
        load = await lab.program_work()
        job = await lab.job(job_id, "failed")
        assert job["error_code"] == "program_timeout" and "bench" in job["error_message"]
        reset = await lab.program_work()
        assert reset.epoch == load.epoch + 1
        assert (await lab.programmed(load)).code == "stale_epoch"
        assert (await lab.programmed(reset)).accepted
        await lab.board(0, "idle")


async def test_a_build_that_never_ends_fails(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings.model_copy(update={"build_deadline_s": 2.0})) as lab:
        job_id = await lab.submit()
        await lab.build_work()
        assert (await lab.ask(c.ReportBuildStarted(job_id=job_id, attempt=1, builder_id="builder-1"))).accepted
        assert (await lab.job(job_id, "failed"))["error_code"] == "build_timeout"


async def test_a_failed_reset_is_repeated_and_its_job_lives_as_long(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        await lab.base()
        await lab.register("b0")
        await lab.reserve()
        release = await lab.ask(c.ReleaseSession(job_id=uuid4(), owner="ada", fpga_id=0))
        first = await lab.program_work()
        failed = c.ReportProgramFailed(fpga_id=0, epoch=first.epoch, code="cable", message="loose")
        assert (await lab.ask(failed)).accepted
        await lab.board(0, "error")
        second = await lab.program_work()  # a second later, by itself
        assert second.epoch == first.epoch + 1
        assert (await lab.programmed(second)).accepted
        await lab.board(0, "idle")
        job = await lab.job(release.data["job_id"], "complete")
        assert job["type"] == "reset"


async def test_a_reset_waits_for_the_base_design(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        await lab.register("b0")
        await lab.reserve()
        assert (await lab.ask(c.ReleaseSession(job_id=uuid4(), owner="ada", fpga_id=0))).accepted
        waiting = await lab.board(0, "resetting")
        assert waiting["bitstream"] is None
        assert (await lab.base()).accepted
        reset = await lab.program_work()
        assert reset.bitstream == bitstream(b"base design")
        assert (await lab.programmed(reset)).accepted
        await lab.board(0, "idle")


async def test_a_silent_agent_loses_its_boards_and_gets_the_session_back(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings.model_copy(update={"agent_lease_s": 1.5})) as lab:
        await lab.base()
        async with lab.beating():
            await lab.register("b0", "b1")
            await lab.reserve()
            job_id = await lab.submit()
            assert (await lab.built(await lab.build_work(), b"other bits")).accepted
            assert (await lab.program_work()).fpga_id == 1
        # Silence: the session stays, the load under way fails.
        lost = await lab.board(0, "lost")
        assert lost["session_id"] is not None and lost["owner"] == "ada"
        assert (await lab.job(job_id, "failed"))["error_code"] == "board_lost"
        async with lab.beating():
            # It comes back: board 0 still runs the session's design, board 1 must be cleaned.
            boards = await lab.register("b0", "b1", running={"b0": (bitstream(b"bits").build_id, 1)})
            assert boards["b0"] | {"session_expires_at": None} == {
                "fpga_id": 0,
                "state": "reserved",
                "epoch": 1,
                "session_id": str(lost["session_id"]),
                "session_expires_at": None,
            }
            reset = await lab.program_work()
            assert (reset.fpga_id, reset.epoch, reset.session_id) == (1, 2, None)
            assert (await lab.programmed(reset)).accepted
            await lab.board(1, "idle")
        await lab.board(0, "lost")
        async with lab.beating():
            # And again, this time after a power loss: its design is loaded again for the same session.
            await lab.register("b0", "b1")
            restore = await lab.program_work()
            assert (restore.fpga_id, restore.epoch, restore.session_id) == (0, 2, lost["session_id"])
            assert restore.bitstream == bitstream(b"bits")
            assert (await lab.programmed(restore)).accepted
            assert (await lab.board(0, "reserved"))["session_id"] == lost["session_id"]


async def test_an_unknown_agent_is_asked_to_register(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        async with lab.beating():
            wish = await lab.control_message()
        assert wish.agent_id == lab.agent_id

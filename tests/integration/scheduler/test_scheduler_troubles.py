"""Repetition, crashes, take-over, a NATS that was wiped, a Postgres that went away, messages that make no sense."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from nats.aio.msg import Msg
from scheduler_lab import (
    PROFILE,
    SOURCE,
    Lab,
    OwnNats,
    bitstream,
    digest,
    hands,
    lab_with_scheduler,
    running,
    streams_are_there,
    until,
)

from lutlab_events import codec, subjects
from lutlab_events import commands as c
from lutlab_events.ids import derived, own_command_id
from lutlab_events.values import Role
from lutlab_events.work import BuildWork, LogChunk
from lutlab_scheduler.adapters import nats_bus, nats_commands
from lutlab_scheduler.adapters.nats_commands import CommandConsumer
from lutlab_scheduler.settings import Settings
from lutlab_transport.blobs import BlobStore
from lutlab_transport.clock import SystemClock
from lutlab_transport.connection import settled


@contextmanager
def process(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler as a process of its own."""
    environment = {f"LUTLAB_{name.upper()}": str(value) for name, value in settings if value is not None}
    child = subprocess.Popen([sys.executable, "-m", "lutlab_scheduler"], env=os.environ | environment)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


async def events_of(lab: Lab, kind: str) -> int:
    return int(await lab.db.fetchval("select count(*) from events where type = $1", kind))


# -- repetition and crashes ----------------------------------------------------------------------------


async def test_a_repeated_command_gets_the_same_answer_and_makes_no_events(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        body = c.SubmitBuild(job_id=uuid4(), owner="ada", source_digest=await lab.upload(), filename="design.v")
        ident = uuid4()
        first = await lab.ask(body, ident, fingerprint="f")
        assert await lab.ask(body, ident, fingerprint="f") == first
        assert (await lab.ask(body, ident, fingerprint="g")).code == "idempotency_mismatch"
        assert await events_of(lab, "job.submitted.v1") == 1


async def test_a_crash_between_commit_and_acknowledgement_is_harmless(
    lab_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(self: CommandConsumer, message: Msg, envelope: Any, answer: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(subjects, "COMMAND_ACK_WAIT_S", 0.5)
    async with hands(lab_settings) as lab:
        job_id, ident = uuid4(), uuid4()
        body = c.SubmitBuild(job_id=job_id, owner="ada", source_digest=await lab.upload(), filename="design.v")
        with monkeypatch.context() as patch:
            patch.setattr(CommandConsumer, "_finish", die)
            async with running(lab_settings):
                await streams_are_there(lab)
                await lab.client.send(body, command_id=ident)
                await lab.job(job_id, "queued")
        async with running(lab_settings):
            # Redelivered, recognised, acknowledged: nothing is left to deliver, and nothing happened twice.
            async def all_acknowledged() -> bool:
                info = await lab.nc.jetstream().stream_info(subjects.COMMANDS.name)
                return bool(info.state.messages == 0)

            await until(all_acknowledged, "the command was acknowledged")
            assert (await lab.ask(body, ident)).data["job_id"] == str(job_id)
            assert await events_of(lab, "job.submitted.v1") == 1


async def test_killed_again_and_again_it_loses_and_doubles_nothing(lab_settings: Settings) -> None:
    count, per_life = 30, 6
    async with hands(lab_settings) as lab:
        source = await lab.upload()
        begun = asyncio.Semaphore(0)

        async def submit(index: int) -> None:
            job_id = derived("job", index)
            body = c.SubmitBuild(job_id=job_id, owner="ada", source_digest=source, filename="design.v")
            await begun.acquire()
            answer = await lab.client.request(body, timeout_s=60, command_id=derived("command", index))
            assert answer.accepted and answer.data["job_id"] == str(job_id)

        with process(lab_settings):
            await streams_are_there(lab)
        tasks = [asyncio.create_task(submit(index)) for index in range(count)]
        lives = 0
        while not all(task.done() for task in tasks):
            before = await events_of(lab, "job.submitted.v1")
            for _ in range(per_life + 4):  # four more than it lives for: something is under way when it dies
                begun.release()

            async def enough(before: int = before) -> bool:
                return all(t.done() for t in tasks) or await events_of(lab, "job.submitted.v1") >= before + per_life

            with process(lab_settings):
                await until(enough, "some commands were carried out")
            lives += 1
        await asyncio.gather(*tasks)
        assert lives > 2
        assert await events_of(lab, "job.submitted.v1") == count
        works = []
        async with running(lab_settings):
            for _ in range(count):
                works.append(await lab.build_work())
                assert (await lab.begun(works[-1])).accepted  # a few are sent ahead of what is begun
        assert sorted(work.job_id for work in works) == sorted(derived("job", index) for index in range(count))


async def test_a_standby_takes_over_at_once(lab_settings: Settings) -> None:
    async with hands(lab_settings) as lab:
        with process(lab_settings) as first:
            await streams_are_there(lab)
            first_job = await lab.submit()
            with process(lab_settings) as second:
                await asyncio.sleep(1.5)  # long enough to stand by; if not, it just leads a little later
                first.send_signal(signal.SIGKILL)
                second_job = await lab.submit()  # within the usual time to wait for an answer
                assert second.poll() is None
        assert [row["job_id"] for row in await lab.db.fetch("select job_id from jobs order by number")] == [
            first_job,
            second_job,
        ]


async def test_it_stops_when_told_to(lab_settings: Settings) -> None:
    async with hands(lab_settings) as lab:
        with process(lab_settings) as child:
            await streams_are_there(lab)
            child.terminate()
            assert await asyncio.to_thread(child.wait, 5) == 0


# -- Postgres and NATS go away -------------------------------------------------------------------------


async def test_a_lost_connection_to_postgres_ends_the_term_and_begins_the_next(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        first = await lab.submit()
        killed = await lab.db.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'lutlab-scheduler' and datname = current_database()"
        )
        assert killed
        second = await lab.submit()
        assert [(await lab.build_work()).job_id for _ in range(2)] == [first, second]


async def test_nats_that_comes_back_is_used_again(lab_settings: Settings, own_nats: OwnNats) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        first = await lab.submit()
        own_nats.stop()
        own_nats.start()
        second = await lab.submit()
        assert [(await lab.build_work()).job_id for _ in range(2)] == [first, second]


async def test_work_is_sent_again_when_nats_was_wiped(lab_settings: Settings, own_nats: OwnNats) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        await lab.base()
        await lab.register("b0", "b1")
        await lab.reserve()  # board 0
        assert (await lab.ask(c.ReleaseSession(job_id=uuid4(), owner="ada", fpga_id=0))).accepted
        loading = await lab.submit()
        assert (await lab.built(await lab.build_work(), b"more bits")).accepted
        await lab.board(1, "programming")
        building = await lab.submit()
        started = c.ReportBuildStarted(job_id=building, attempt=1, builder_id="builder-1")
        assert (await lab.ask(started)).accepted
        waiting = await lab.submit()
        own_nats.stop()
        own_nats.wipe()
        own_nats.start()
        builds = [await lab.build_work() for _ in range(2)]
        assert [work.job_id for work in builds] == [building, waiting]
        loads = {load.fpga_id: load for load in [await lab.program_work() for _ in range(2)]}
        assert loads[0].bitstream == bitstream(b"base design") and loads[0].session_id is None
        assert loads[1].bitstream == bitstream(b"more bits") and loads[1].session_id is not None
        # What is needed to do the work is there again, too.
        blobs = BlobStore(lab.nc.jetstream())
        assert await blobs.get(digest(SOURCE)) == SOURCE
        assert await blobs.get(digest(b"more bits")) == b"more bits"
        assert (await lab.programmed(loads[1])).accepted
        await lab.job(loading, "complete")


async def test_a_stream_that_is_deleted_is_made_again(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        job_id = await lab.submit()
        await lab.nc.jetstream().delete_stream(subjects.WORK.name)

        async def exists() -> bool:
            names = await lab.nc.jetstream().streams_info()
            return any(info.config.name == subjects.WORK.name for info in names)

        await until(exists, "the stream of work is back")
        assert (await lab.build_work()).job_id == job_id


async def test_a_bitstream_that_was_lost_is_built_again(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        job_id = await lab.submit()
        work = await lab.build_work()
        lost = c.ReportBuildSucceeded(
            job_id=job_id, attempt=work.attempt, bitstream=bitstream(b"never uploaded"), report={}, cached=False
        )
        assert (await lab.ask(lost)).accepted
        again = await lab.build_work()
        assert (again.job_id, again.attempt) == (job_id, 2)
        assert (await lab.built(again, b"bits")).accepted
        assert await lab.db.fetchval("select data from blobs where digest = $1", digest(b"bits")) == b"bits"
        job = await lab.row("jobs", job_id)
        assert job is not None and job["attempt"] == 2


async def test_a_bitstream_of_which_only_the_record_is_left_is_built_again(
    lab_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py would wait for its chunks for ever."""
    monkeypatch.setattr(nats_bus, "GET_TIMEOUT_S", 0.3)
    async with lab_with_scheduler(lab_settings) as lab:
        await lab.submit()
        work = await lab.build_work()
        await lab.put_blob(b"bits")
        js = lab.nc.jetstream()
        record = await (await js.object_store(subjects.BLOB_BUCKET)).get_info(digest(b"bits"))
        await js.purge_stream(f"OBJ_{subjects.BLOB_BUCKET}", subject=f"$O.{subjects.BLOB_BUCKET}.C.{record.nuid}")
        assert (await lab.built(work, b"bits")).accepted
        again = await lab.build_work()
        assert (again.job_id, again.attempt) == (work.job_id, 2)


async def test_a_base_design_that_is_not_there_yet_is_awaited(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        report = c.ReportBaseBuilt(profile=PROFILE, bitstream=bitstream(b"late base"))
        ident = await lab.client.send(report)
        assert (await lab.ask(c.RevokeKey(key_id=uuid4()))).code == "key_not_found"  # others are not held up
        await lab.put_blob(b"late base")

        async def recorded() -> Any:
            return await lab.db.fetchval("select code from commands where command_id = $1", ident)

        assert await until(recorded, "the report was decided") == "ok"


async def test_a_base_design_that_never_comes_is_awaited_for_a_while_only(
    lab_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_commands, "NAK_DELAY_S", 0.01)
    monkeypatch.setattr(nats_commands, "POSTPONED_MAX", 3)
    async with lab_with_scheduler(lab_settings) as lab:
        answer = await lab.ask(c.ReportBaseBuilt(profile=PROFILE, bitstream=bitstream(b"nowhere")))
        assert answer.code == "undecidable"
        message = await dead_letter(lab)
        assert message.headers is not None and "is not in the store" in message.headers["Lutlab-Reason"]


async def test_a_source_that_is_nowhere_fails_its_job_and_holds_up_nobody(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        lost = uuid4()
        body = c.SubmitBuild(job_id=lost, owner="ada", source_digest="0" * 64, filename="design.v")
        assert (await lab.ask(body)).accepted
        job_id = await lab.submit()
        assert (await lab.build_work()).job_id == job_id
        assert (await lab.job(lost, "failed"))["error_code"] == "source_missing"


# -- messages that make no sense -----------------------------------------------------------------------


async def dead_letter(lab: Lab) -> Msg:
    sub = await lab.nc.jetstream().subscribe("dead.>", ordered_consumer=True)
    message: Msg = await sub.next_msg(timeout=10)
    await sub.unsubscribe()
    return message


async def test_what_cannot_be_decoded_is_kept_among_the_dead(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        js = lab.nc.jetstream()
        await js.publish(subjects.command("main", "SubmitBuild"), b'{"command_id": 1}')
        message = await dead_letter(lab)
        assert message.data == b'{"command_id": 1}' and message.headers is not None
        assert "command_id" in message.headers["Lutlab-Reason"]
        await lab.submit()


async def test_a_command_on_the_subject_of_another_is_refused(lab_settings: Settings) -> None:
    """NATS' permissions are by subject, so a command must not travel under another's name."""
    async with lab_with_scheduler(lab_settings) as lab:
        envelope = lab.client.envelope(c.IssueKey(key_id=uuid4(), key_sha256="a" * 64, owner="eve", role=Role.ADMIN))
        await lab.nc.jetstream().publish(subjects.command("main", "ReportProgrammed"), codec.encode(envelope))
        message = await dead_letter(lab)
        assert message.headers is not None and "cmd.main.IssueKey" in message.headers["Lutlab-Reason"]
        assert await events_of(lab, "key.issued.v1") == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        # The scheduler may empty a stream; an agent, which may send this command, may not.
        ({"reply_to": "$JS.API.STREAM.PURGE.WORK"}, "where no answers go"),
        ({"reply_to": "not a subject"}, "where no answers go"),
        # Under such an id the scheduler ends sessions, for example: it must not seem to have been carried out already.
        ({"command_id": own_command_id(derived("expire-session", 0, 7))}, "the scheduler's own"),
        # There is no subject for the work of such an agent, nor for events about it.
        ({"body": c.RegisterAgent(agent_id="bench 1", incarnation=uuid4(), boards=())}, "'bench 1' must be"),
        (
            {"body": c.ReportBoardLost(fpga_id=0, agent_id="a\nb", message="")},
            "must be",
        ),
    ],
)
async def test_a_command_that_speaks_of_subjects_it_must_not_is_set_aside(
    lab_settings: Settings, change: dict[str, Any], reason: str
) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        envelope = lab.client.envelope(c.RegisterAgent(agent_id="bench", incarnation=uuid4(), boards=()))
        envelope = msgspec.structs.replace(envelope, **change)
        subject = subjects.command("main", type(envelope.body).__name__)
        await lab.nc.jetstream().publish(subject, codec.encode(envelope))
        message = await dead_letter(lab)
        assert message.headers is not None and reason in message.headers["Lutlab-Reason"]
        assert await events_of(lab, "agent.registered.v1") == 0
        await lab.submit()


async def test_a_value_postgres_refuses_is_answered_and_kept_among_the_dead(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        poison = c.SubmitBuild(job_id=uuid4(), owner="nul\0", source_digest=await lab.upload(), filename="design.v")
        good = lab.submit()
        answer, job_id = await asyncio.gather(lab.ask(poison), good)
        assert answer.code == "undecidable"
        assert isinstance(job_id, UUID)
        await dead_letter(lab)
        huge = c.SubmitBuild(
            job_id=uuid4(), owner="ada", source_digest=await lab.upload(), filename="design.v", sys_clk_hz=1 << 63
        )
        assert (await lab.ask(huge)).code == "undecidable"
        await lab.submit()


# -- logs ----------------------------------------------------------------------------------------------


def chunk(job_id: UUID, seq: int, *lines: str) -> bytes:
    now = "2026-01-01T00:00:00Z"
    fields = LogChunk(job_id=job_id, attempt=1, seq=seq, stage="pack", lines=lines, at=now)  # type: ignore[arg-type]
    return codec.encode(fields)


async def test_logs_are_stored_once_and_up_to_a_limit(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings.model_copy(update={"job_log_bytes_max": 1024})) as lab:
        job_id, other = uuid4(), uuid4()
        js = lab.nc.jetstream()
        subject = subjects.log("main", job_id)
        for seq, lines in ((0, ["hello", "nul \0 world"]), (0, ["hello", "nul \0 world"]), (1, ["x" * 500, "y" * 600])):
            await js.publish(subject, chunk(job_id, seq, *lines))
        await js.publish(subject, b"nonsense")
        await js.publish(subject, chunk(job_id, 2, "dropped"))
        await js.publish(subjects.log("main", other), chunk(other, 0, "another job"))

        async def ingested() -> bool:
            info = await js.stream_info(subjects.LOGS.name)
            return bool(info.state.messages == 0)

        await until(ingested, "all logs ingested")
        rows = await lab.db.fetch("select * from job_logs where job_id = $1 order by attempt, seq", job_id)
        text = "".join(row["text"] for row in rows)
        assert text.splitlines() == [
            "hello",
            "nul \ufffd world",
            "x" * 500,
            "[lutlab] the log is cut here: it is longer than 1024 bytes",
        ]
        assert (rows[0]["stage"], rows[0]["seq"]) == ("pack", 0)
        assert await lab.db.fetchval("select text from job_logs where job_id = $1", other) == "another job\n"


async def test_what_no_database_can_hold_is_set_aside_wherever_it_comes_from(lab_settings: Settings) -> None:
    """Otherwise it would come again and again, and end every scheduler that takes it."""
    async with lab_with_scheduler(lab_settings) as lab:
        js, job_id = lab.nc.jetstream(), uuid4()
        fields = LogChunk(job_id=job_id, attempt=1, seq=0, stage="pack", lines=("x",), at=SystemClock().now())
        odd = [msgspec.structs.replace(fields, stage="a\0b"), msgspec.structs.replace(fields, attempt=1 << 40)]
        good = msgspec.structs.replace(fields, seq=7)
        for one in (*odd, good):
            await js.publish(subjects.log("main", job_id), codec.encode(one))
        await js.publish(subjects.dead("main", "WORK"), b"letter", headers={subjects.H_DEAD_SUBJECT: "work.\0"})
        await lab.submit()
        work = await lab.build_work()
        report = c.ReportBuildSucceeded(
            job_id=work.job_id,
            attempt=work.attempt,
            bitstream=bitstream(b"bits"),
            report={"deep": json.loads("[" * 100 + "]" * 100)},
            cached=False,
        )
        assert (await lab.ask(report)).code == "undecidable"

        async def kept() -> bool:
            rows = await lab.db.fetch("select origin from dead_letters")
            return sorted(row[0] for row in rows) == ["COMMANDS", "LOGS", "LOGS", "WORK"]

        await until(kept, "all four are set aside")
        assert [row[0] for row in await lab.db.fetch("select seq from job_logs")] == [7]
        assert (await lab.built(work, b"bits")).accepted


async def test_a_cancelled_build_is_called_off(lab_settings: Settings) -> None:
    async with lab_with_scheduler(lab_settings) as lab:
        job_id = await lab.submit()
        work: BuildWork = await lab.build_work()
        sub = await lab.nc.subscribe(subjects.builders_control("main"))
        await settled(lab.nc)
        assert (await lab.ask(c.CancelJob(job_id=job_id, owner="ada"))).accepted
        message = await sub.next_msg(timeout=10)
        assert getattr(codec.decode_control(message.data), "job_id", None) == job_id == work.job_id

"""Jobs: every command in every state, and every line of the transition table."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import scheduler_given as g

from lutlab_events import commands as c
from lutlab_events import events as e
from lutlab_events.rejections import Rejection as R
from lutlab_events.values import BusFailure, JobStatus, JobType, RunStep
from lutlab_scheduler.domain import job as jobs
from lutlab_scheduler.domain.job import DECIDERS, AssignTo, Complete, Fail, decide, record_run, submit_build
from lutlab_scheduler.domain.machine import START, IllegalTransition
from lutlab_scheduler.domain.outcome import BUILD_ATTEMPTS_MAX, BUILD_STARTS_MAX, Rejected

LATE = g.T0 + timedelta(hours=2)


def cancel(owner: str = "ada", fpga_id: int | None = None, is_admin: bool = False) -> c.CancelJob:
    return c.CancelJob(job_id=g.JOB, owner=owner, fpga_id=fpga_id, is_admin=is_admin)


def started(attempt: int = 1, builder: str = "builder-2") -> c.ReportBuildStarted:
    return c.ReportBuildStarted(job_id=g.JOB, attempt=attempt, builder_id=builder)


def stage(attempt: int = 1, name: str = "synthesize") -> c.ReportBuildStage:
    return c.ReportBuildStage(job_id=g.JOB, attempt=attempt, stage=name)


def succeeded(attempt: int = 1, profile: str = g.PROFILE) -> c.ReportBuildSucceeded:
    return c.ReportBuildSucceeded(
        job_id=g.JOB, attempt=attempt, bitstream=g.bits("user", profile), report={"ok": True}, cached=True
    )


def failed(attempt: int = 1) -> c.ReportBuildFailed:
    return c.ReportBuildFailed(job_id=g.JOB, attempt=attempt, code="x", message="line 3", stage="synthesize")


def overdue(attempt: int = 1, now: Any = LATE) -> c.ExpireBuild:
    return c.ExpireBuild(job_id=g.JOB, attempt=attempt, now=now)


def retry(attempt: int = 1) -> c.RetryBuild:
    return c.RetryBuild(job_id=g.JOB, attempt=attempt, reason="blob gone")


ASSIGN = AssignTo(fpga_id=3, epoch=1)
CASES: list[tuple[str, Any, list[str] | R]] = [
    # cancel: queued only where a board is named, else until a board is touched
    ("queued", cancel(), ["JobCancelled"]),
    ("building", cancel(), ["JobCancelled"]),
    ("built", cancel(), ["JobCancelled"]),
    ("on-board", cancel(), R.JOB_NOT_CANCELLABLE),
    ("complete", cancel(), R.JOB_NOT_CANCELLABLE),
    ("failed", cancel(), R.JOB_NOT_CANCELLABLE),
    ("cancelled", cancel(), R.JOB_NOT_CANCELLABLE),
    ("queued", cancel("eve"), R.NOT_YOUR_JOB),
    ("queued", cancel("root", is_admin=True), ["JobCancelled"]),
    ("pinned", cancel(fpga_id=3), ["JobCancelled"]),
    ("pinned", cancel(fpga_id=4), R.JOB_NOT_FOUND),
    ("pinned", cancel("eve", fpga_id=4), R.JOB_NOT_FOUND),
    ("queued", cancel(fpga_id=3), R.JOB_NOT_FOUND),
    ("on-board", cancel(fpga_id=3), R.JOB_NOT_CANCELLABLE),
    # builds
    ("queued", started(), ["BuildStarted"]),
    ("building", started(), ["BuildStarted"]),
    ("queued", started(2), R.STALE_ATTEMPT),
    ("built", started(), R.STALE_ATTEMPT),
    ("cancelled", started(), R.STALE_ATTEMPT),
    ("building", stage(), ["BuildStageEntered"]),
    ("queued", stage(), R.NOTHING_TO_DO),
    ("building", stage(2), R.STALE_ATTEMPT),
    ("failed", stage(), R.STALE_ATTEMPT),
    ("building", succeeded(), ["BuildSucceeded"]),
    ("queued", succeeded(), ["BuildSucceeded"]),
    ("building", succeeded(profile="lfe5um5g-85f"), ["JobFailed"]),
    ("building", succeeded(0), R.STALE_ATTEMPT),
    ("built", succeeded(), R.STALE_ATTEMPT),
    ("cancelled", succeeded(), R.STALE_ATTEMPT),
    ("building", failed(), ["JobFailed"]),
    ("queued", failed(), ["JobFailed"]),
    ("failed", failed(), R.STALE_ATTEMPT),
    ("building", overdue(), ["JobFailed"]),
    ("building", overdue(now=g.T0), R.NOT_DUE),
    ("queued", overdue(), R.NOT_DUE),
    ("built", overdue(), R.STALE_ATTEMPT),
    ("building", retry(), ["BuildRetried"]),
    ("queued", retry(), ["BuildRetried"]),
    ("building", retry(2), R.STALE_ATTEMPT),
    ("on-board", retry(), R.STALE_ATTEMPT),
    # the board's part
    ("built", ASSIGN, ["JobBoardAssigned"]),
    ("reset", ASSIGN, ["JobBoardAssigned"]),
    ("building", ASSIGN, R.NOTHING_TO_DO),
    ("complete", ASSIGN, R.NOTHING_TO_DO),
    ("on-board", Complete(), ["JobCompleted"]),
    ("cancelled", Complete(), []),
    ("on-board", Fail(code="x", message="y"), ["JobFailed"]),
    ("built", Fail(code="x", message="y"), ["JobFailed"]),
    ("reset", Fail(code="x", message="y"), ["JobFailed"]),
    ("complete", Fail(code="x", message="y"), []),
]


@pytest.mark.parametrize(("given", "when", "then"), CASES, ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_given_when_then(given: str, when: Any, then: list[str] | R) -> None:
    decided = decide(when, g.job(g.JOBS[given]), g.CONTEXT)
    if isinstance(decided, Rejected):
        assert decided.code is then and decided.message
    else:
        assert [type(event).__name__ for event in decided] == then


def test_every_command_in_every_state_fits_the_table_and_all_of_the_table_happens() -> None:
    happened: set[tuple[str, type]] = {(START, e.JobSubmitted), (START, e.RunRecorded)}
    for events in g.JOBS.values():
        before = g.job(events)
        for _, command, _ in CASES:
            if isinstance(command, Complete) and not (before.ended or before.state is jobs.JobState.ON_BOARD):
                continue  # only a board that has the job completes it
            decided = decide(command, before, g.CONTEXT)
            if isinstance(decided, Rejected):
                continue
            assert not (before.ended and decided)
            for event in decided:
                happened.add((before.state, type(event)))
                g.job([*events, event])
    assert {type(command) for _, command, _ in CASES} == set(DECIDERS)
    assert happened == set(jobs.TRANSITIONS)


def test_a_build_that_is_begun_again_and_again_is_given_up() -> None:
    events = [*g.JOB_QUEUED, *(g.build_started(builder=f"builder-{i}") for i in range(BUILD_STARTS_MAX))]
    decided = decide(started(), g.job(events), g.CONTEXT)
    assert not isinstance(decided, Rejected)
    assert isinstance(decided[0], e.JobFailed) and decided[0].code == jobs.BUILD_CRASHED


def test_a_bitstream_that_is_lost_again_and_again_is_given_up() -> None:
    retried = [e.BuildRetried(attempt=n, reason="x") for n in range(2, BUILD_ATTEMPTS_MAX + 1)]
    decided = decide(retry(BUILD_ATTEMPTS_MAX), g.job([*g.JOB_QUEUED, *retried]), g.CONTEXT)
    assert not isinstance(decided, Rejected)
    assert isinstance(decided[0], e.JobFailed) and decided[0].code == jobs.BUILD_LOST


def test_a_retry_is_a_new_attempt_that_counts_its_starts_anew() -> None:
    after = g.job([*g.JOB_BUILDING, e.BuildRetried(attempt=2, reason="x")])
    assert (after.attempt, after.starts, after.status, after.deadline_at) == (2, 0, JobStatus.QUEUED, None)


def submit(**more: Any) -> c.SubmitBuild:
    return c.SubmitBuild(job_id=g.JOB, owner="ada", source_digest="5" * 64, filename="design.v", **more)


def test_submit_is_limited_and_knows_its_profiles() -> None:
    accepted = submit_build(submit(top="t", sys_clk_hz=5, timing_target_mhz=1.5), g.PROFILE, 2, g.CONTEXT)
    assert accepted == [g.submitted(top="t", sys_clk_hz=5, timing_target_mhz=1.5)]
    full = submit_build(submit(), g.PROFILE, 3, g.CONTEXT)
    assert isinstance(full, Rejected) and full.code is R.QUEUE_FULL
    unknown = submit_build(submit(), "ice40", 0, g.CONTEXT)
    assert isinstance(unknown, Rejected) and unknown.code is R.UNKNOWN_PROFILE
    assert "lfe5u-25f, lfe5um5g-85f" in unknown.message


def test_whoever_has_no_job_open_finds_a_place_however_many_others_want() -> None:
    context = g.Context(g.NOW, replace(g.RULES, queue_jobs_max=1000, owner_jobs_max=500))
    hogs, limit = Counter({"ada": 0, "bob": 0}), context.rules.queue_jobs_max
    refused: dict[str, Rejected] = {}
    for owner in ["ada"] * 600 + ["bob"] * 600:
        submit = c.SubmitBuild(job_id=g.JOB, owner=owner, source_digest="5" * 64, filename="design.v")
        decided = submit_build(submit, g.PROFILE, hogs.total(), context, hogs[owner])
        if isinstance(decided, Rejected):
            refused[owner] = decided
        else:
            hogs[owner] += 1
    assert hogs["ada"] == 500 and 400 < hogs["bob"] < 450
    assert {refused[owner].code for owner in hogs} == {R.OWNER_LIMIT}
    assert "the last places are for those who have fewer" in refused["bob"].message
    late = c.SubmitBuild(job_id=g.JOB, owner="eve", source_digest="5" * 64, filename="design.v")
    for own, is_let_in in ((0, True), (30, True), (limit - hogs.total(), False)):
        decided = submit_build(late, g.PROFILE, hogs.total() + own, context, own)
        assert isinstance(decided, list) == is_let_in, own


@pytest.mark.parametrize(("failure", "status"), [(None, "complete"), (BusFailure(code="nack", message="m"), "failed")])
def test_a_run_is_over_when_it_is_recorded(failure: BusFailure | None, status: str) -> None:
    command = c.RecordRun(
        job_id=g.JOB,
        owner="ada",
        fpga_id=3,
        session_id=g.SESSION,
        op=2,
        address_bytes=4,
        count=1,
        fixed_address=False,
        data=(7,),
        failure=failure,
    )
    recorded = record_run(command)
    assert not isinstance(recorded, Rejected)
    run = g.job(recorded)
    assert (run.type, run.status.value, run.fpga_id) == (JobType.RUN, status, 3)
    assert run.result is not None and run.result["data"] == [7] and run.result["ok"] is (failure is None)
    with pytest.raises(IllegalTransition):
        g.job([*recorded, e.JobCompleted()])


def test_a_batch_is_one_run_that_tells_of_each_operation() -> None:
    nack = BusFailure(code="bus_timeout", message="m")
    steps = (
        RunStep(op=1, address_bytes=4, count=2, data=(7, 8)),
        RunStep(op=2, address_bytes=8, failure=nack),
        RunStep(op=4, address_bytes=8, data=(1,), mask=1, value=1, timeout_cycles=9),
    )
    command = c.RecordRun(
        job_id=g.JOB,
        owner="ada",
        fpga_id=3,
        session_id=g.SESSION,
        op=0,
        address_bytes=4,
        count=4,
        fixed_address=False,
        failure=BusFailure(code="bus_error", message="ops[1]: m"),
        ops=steps,
    )
    recorded = record_run(command)
    assert not isinstance(recorded, Rejected)
    result = g.job(recorded).result
    assert result is not None and result["data"] == [7, 8, 1]
    assert [(op["ok"], op["data"], op["error"]) for op in result["ops"]] == [
        (True, [7, 8], None),
        (False, [], {"code": "bus_timeout", "message": "m"}),
        (True, [1], None),
    ]

"""Verification: projects, and jobs whose stages run one after another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from scheduler_verification_lab import (
    BROKEN,
    FAILED,
    FILE,
    JOB,
    NOW,
    OTHER,
    PASSED,
    PROJECT,
    SKIPPED,
    Lab,
    create,
    submit,
)

from lutlab_events import verification as v
from lutlab_events.envelope import CommandEnvelope
from lutlab_events.ids import derived
from lutlab_events.rejections import Rejection
from lutlab_scheduler.app.handlers import HANDLERS
from lutlab_scheduler.app.projections import project as row_of
from lutlab_scheduler.app.rebuild import Folding
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.domain import project, verification
from lutlab_scheduler.domain.machine import START
from lutlab_scheduler.domain.outcome import Rejected
from lutlab_scheduler.domain.policies import stage_timers

# -- projects --------------------------------------------------------------------------------------------


def test_a_name_is_unique_among_its_owners_projects_until_one_is_deleted() -> None:
    lab = Lab().with_project()
    assert lab.refused(create(project_id=OTHER)) is Rejection.PROJECT_EXISTS
    assert isinstance(lab.told(create(project_id=OTHER, owner="bob")), list)
    assert lab.refused(create("x")) is Rejection.PROJECT_EXISTS
    lab.told(v.DeleteProject(project_id=PROJECT, owner="ada"))
    assert isinstance(lab.told(create(project_id=UUID(int=77))), list)


def test_a_rename_frees_the_old_name_and_cannot_take_a_taken_one() -> None:
    lab = Lab().with_project().with_project("fifo", OTHER)
    rename = v.UpdateProject(project_id=PROJECT, owner="ada", name="fifo")
    assert lab.refused(rename) is Rejection.PROJECT_EXISTS
    events = lab.told(v.UpdateProject(project_id=PROJECT, owner="ada", name="uart2", top_module="top"))
    assert events == [v.ProjectUpdated(name="uart2")]
    assert lab.told(v.UpdateProject(project_id=PROJECT, owner="ada", name="uart2")) == []
    assert isinstance(lab.told(create("uart", UUID(int=88))), list)


def test_files_are_added_replaced_by_path_or_all_at_once() -> None:
    lab = Lab().with_project()
    newer = v.FileRef(digest="ef" * 32, size_bytes=20)
    lab.told(v.UploadFiles(project_id=PROJECT, owner="ada", files={"b.v": FILE, "a.v": newer}))
    found = lab.world.project(PROJECT)
    assert found is not None and found.files == {"a.v": newer, "b.v": FILE}
    lab.told(v.UploadFiles(project_id=PROJECT, owner="ada", files={"c.v": FILE}, replace=True))
    found = lab.world.project(PROJECT)
    assert found is not None and found.files == {"c.v": FILE}


def test_a_project_holds_so_many_files_and_bytes() -> None:
    lab = Lab().with_project()
    many = {f"f{i}.v": FILE for i in range(project.FILES_MAX)}
    assert lab.refused(v.UploadFiles(project_id=PROJECT, owner="ada", files=many)) is Rejection.PROJECT_FULL
    large = {"x.v": v.FileRef(digest="00" * 32, size_bytes=project.BYTES_MAX)}
    assert lab.refused(v.UploadFiles(project_id=PROJECT, owner="ada", files=large)) is Rejection.PROJECT_FULL


@pytest.mark.parametrize(
    "body",
    [
        v.UpdateProject(project_id=PROJECT, owner="bob", name="x"),
        v.UploadFiles(project_id=PROJECT, owner="bob", files={}),
        v.DeleteProject(project_id=PROJECT, owner="bob"),
        submit("lint", owner="bob"),
    ],
)
def test_others_may_not_touch_a_project_but_admins_may(body: Any) -> None:
    lab = Lab().with_project()
    assert lab.refused(body) is Rejection.NOT_YOUR_PROJECT
    fields = {name: getattr(body, name) for name in body.__struct_fields__}
    assert isinstance(lab.told(type(body)(**(fields | {"is_admin": True}))), list)


def test_deleting_a_project_cancels_its_jobs() -> None:
    lab = Lab().with_project().with_job("lint")
    events = lab.told(v.DeleteProject(project_id=PROJECT, owner="ada"))
    assert events == [v.VerificationCancelled(by="ada"), v.ProjectDeleted(by="ada")]
    assert lab.refused(submit("lint", job_id=OTHER)) is Rejection.PROJECT_NOT_FOUND
    assert not lab.world.open_verifications()


# -- jobs ------------------------------------------------------------------------------------------------


def test_stages_run_one_after_another_and_a_failure_stops_none() -> None:
    lab = Lab().with_project().with_job("lint", "simulation", "formal")
    begun = lab.begun("lint")
    assert isinstance(begun, list)
    assert [type(event) for event in begun] == [v.VerificationStarted, v.StageStarted]
    assert lab.refused(v.ReportStageStarted(job_id=JOB, stage="formal", attempt=1, builder_id="b"))
    lab.ended("lint")
    lab.begun("simulation")
    lab.ended("simulation", FAILED)
    lab.begun("formal")
    events = lab.ended("formal", SKIPPED)
    assert isinstance(events, list)
    failed = events[-1]
    assert isinstance(failed, v.VerificationFailed)
    assert (failed.code, failed.message) == ("verification_failed", "simulation: failed")
    assert failed.summary["stages"] == {"lint": "passed", "simulation": "failed", "formal": "skipped"}
    assert (failed.summary["tests_failed"], failed.summary["lint_warnings"]) == (1, 1)
    assert lab.job.status is v.VerificationStatus.FAILED


def test_a_stage_without_a_verdict_fails_the_job_with_its_code() -> None:
    lab = Lab().with_project().with_job("lint")
    lab.begun("lint")
    lab.ended("lint", BROKEN)
    assert (lab.job.error_code, lab.job.error_message) == ("TOOL_ERROR", "lint: yosys: no")


def test_skipped_stages_do_not_spoil_a_job() -> None:
    lab = Lab().with_project().with_job("lint", "crypto")
    lab.begun("lint")
    lab.ended("lint")
    lab.begun("crypto")
    crypto = v.StageOutcome(
        status="passed", summary={"constant_time": {"status": "passed"}, "ntt": {"status": "skipped"}}
    )
    events = lab.ended("crypto", crypto)
    assert isinstance(events, list)
    assert isinstance(events[-1], v.VerificationPassed)
    assert events[-1].summary["crypto_checks_passed"] == 1


def test_a_builder_that_died_is_replaced_and_its_late_report_counts_while_the_stage_is_open() -> None:
    lab = Lab().with_project().with_job("lint")
    for _ in range(verification.STAGE_STARTS_MAX):
        assert isinstance(lab.begun("lint"), list)
    lab.begun("lint")
    assert (lab.job.status, lab.job.error_code) == (v.VerificationStatus.FAILED, verification.STAGE_CRASHED)
    assert isinstance(lab.ended("lint"), Rejected)


def test_reports_about_another_stage_or_attempt_change_nothing() -> None:
    lab = Lab().with_project().with_job("lint", "formal")
    lab.begun("lint")
    lab.ended("lint")
    for stage, attempt in (("lint", 1), ("formal", 2), ("crypto", 1)):
        report = v.ReportStageCompleted(job_id=JOB, stage=stage, attempt=attempt, outcome=PASSED)
        assert lab.refused(report) is Rejection.STALE_ATTEMPT


def test_a_stage_whose_artifacts_were_lost_runs_again_but_not_for_ever() -> None:
    lab = Lab().with_project().with_job("lint")
    lab.begun("lint")
    for attempt in range(1, verification.STAGE_ATTEMPTS_MAX):
        retry = v.RetryStage(job_id=JOB, stage="lint", attempt=attempt, reason="wiped")
        assert lab.told(retry) == [v.StageRetried(stage="lint", attempt=attempt + 1, reason="wiped")]
        lab.begun("lint", attempt + 1)
    lab.told(v.RetryStage(job_id=JOB, stage="lint", attempt=verification.STAGE_ATTEMPTS_MAX, reason="wiped"))
    assert lab.job.error_code == verification.STAGE_LOST


def test_a_stage_that_takes_too_long_is_given_up_by_a_timer() -> None:
    lab = Lab().with_project().with_job("lint")
    assert stage_timers(lab.world.open_verifications(), NOW).next_at is None
    lab.begun("lint")
    deadline = NOW + lab.rules.stage_deadline
    assert stage_timers(lab.world.open_verifications(), NOW).next_at == deadline
    early = v.ExpireStage(job_id=JOB, stage="lint", attempt=1, now=deadline - timedelta(seconds=1))
    assert lab.refused(early) is Rejection.NOT_DUE
    (due,) = stage_timers(lab.world.open_verifications(), deadline).due
    lab.told(due.command)
    assert lab.job.error_code == verification.STAGE_TIMEOUT


def test_cancelling() -> None:
    lab = Lab().with_project().with_job("lint", "formal")
    lab.begun("lint")
    assert lab.refused(v.CancelVerification(job_id=JOB, owner="bob")) is Rejection.NOT_YOUR_JOB
    assert lab.told(v.CancelVerification(job_id=JOB, owner="ada")) == [v.VerificationCancelled(by="ada")]
    assert lab.refused(v.CancelVerification(job_id=JOB, owner="ada")) is Rejection.JOB_NOT_CANCELLABLE
    assert isinstance(lab.ended("lint"), Rejected)
    assert lab.refused(v.CancelVerification(job_id=OTHER, owner="ada")) is Rejection.JOB_NOT_FOUND


def test_limits_of_open_jobs() -> None:
    lab = Lab(owner_jobs_max=2).with_project()
    lab.with_job("lint", job_id=UUID(int=10)).with_job("lint", job_id=UUID(int=11))
    assert lab.refused(submit("lint", job_id=UUID(int=12))) is Rejection.OWNER_LIMIT
    full = Lab(queue_jobs_max=1).with_project().with_job("lint")
    assert full.refused(submit("lint", job_id=OTHER)) is Rejection.QUEUE_FULL
    assert full.refused(submit("lint")) is Rejection.JOB_EXISTS


def test_views_are_what_the_log_says() -> None:
    lab = Lab().with_project().with_job("lint", "formal")
    lab.begun("lint")
    lab.ended("lint", FAILED)
    lab.begun("formal")
    lab.ended("formal", BROKEN)
    folding = Folding()
    rows = {}
    for event in lab.log:
        for row in folding.take([event]):
            rows[row.table, str(row.values.get("job_id") or row.values["project_id"])] = row
    assert rows["verifications", str(JOB)] == row_of(lab.job)
    found = lab.world.project(PROJECT)
    assert found is not None
    assert rows["projects", str(PROJECT)] == row_of(found)


def test_undone_commands_leave_no_name_behind() -> None:
    lab = Lab()
    envelope = CommandEnvelope(
        command_id=derived("x"), body=create(), actor="a", site="main", correlation_id=UUID(int=1), issued_at=NOW
    )
    tx = Transaction(world=lab.world, command=envelope, rules=lab.rules, position=0, now=NOW)
    HANDLERS[v.CreateProject](create(), tx)
    lab.world.undo()
    assert not lab.world.projects_of("ada")
    assert lab.world.project(PROJECT) is None


@pytest.mark.parametrize("table", [project.TRANSITIONS, verification.TRANSITIONS])
def test_ends_are_final_and_every_state_is_reached(table: Any) -> None:
    targets = {after for afters in table.values() for after in afters}
    sources = {before for before, _ in table} - {START}
    assert targets - sources == (v.ENDED if table is verification.TRANSITIONS else project.ENDED)

"""Handlers of commands about verification projects and their jobs."""

from __future__ import annotations

from typing import Any

from lutlab_events import verification as v
from lutlab_events.rejections import Rejection
from lutlab_events.values import Json
from lutlab_scheduler.app.storage import instead
from lutlab_scheduler.app.transaction import Transaction
from lutlab_scheduler.domain import project, verification
from lutlab_scheduler.domain.outcome import Rejected
from lutlab_scheduler.domain.project import Project
from lutlab_scheduler.domain.verification import Verification

# -- projects --------------------------------------------------------------------------------------------


def _create(command: v.CreateProject, tx: Transaction) -> Json | Rejected:
    owned = tx.world.projects_of(command.owner)
    decided = project.create(command, tx.world.project(command.project_id), len(owned), is_taken=command.name in owned)
    if isinstance(decided, Rejected):
        return decided
    tx.append(v.project_stream(command.project_id), decided)
    return {"project_id": str(command.project_id)}


def _usable(command: Any, tx: Transaction) -> Project | Rejected:
    found = tx.world.project(command.project_id)
    return project.usable(found, command.project_id, command.owner, is_admin=command.is_admin)


def _update(command: v.UpdateProject, tx: Transaction) -> Json | Rejected:
    found = _usable(command, tx)
    if isinstance(found, Rejected):
        return found
    named = tx.world.projects_of(found.owner).get(command.name or "")
    decided = project.update(command, found, is_taken=named not in (None, found.project_id))
    if isinstance(decided, Rejected):
        return decided
    tx.append(v.project_stream(found.project_id), decided)
    return {}


def _upload(command: v.UploadFiles, tx: Transaction) -> Json | Rejected:
    found = _usable(command, tx)
    if isinstance(found, Rejected):
        return found
    decided = project.upload(command, found)
    if isinstance(decided, Rejected):
        return decided
    full = tx.keep(found.owner)
    if full is not None:
        return full
    tx.append(v.project_stream(found.project_id), decided)
    return {"uploaded": len(command.files)}


def _delete(command: v.DeleteProject, tx: Transaction) -> Json | Rejected:
    found = _usable(command, tx)
    if isinstance(found, Rejected):
        return found
    for job in list(tx.world.open_verifications()):
        if job.project_id == found.project_id:
            tx.append(v.verification_stream(job.job_id), [v.VerificationCancelled(by=command.owner)])
    tx.append(v.project_stream(found.project_id), [v.ProjectDeleted(by=command.owner)])
    return {}


# -- jobs ------------------------------------------------------------------------------------------------


def _submit(command: v.SubmitVerification, tx: Transaction) -> Json | Rejected:
    shown = v.shown_id(v.JOB_PREFIX, command.job_id)
    if tx.world.verification(command.job_id) is not None:
        return Rejected(Rejection.JOB_EXISTS, f"job {shown} exists already; a new job needs a new id")
    found = _usable(command, tx)
    if isinstance(found, Rejected):
        return found
    all_open = tx.world.open_verifications()
    own = sum(job.owner == found.owner for job in all_open)
    decided = verification.submit(command, found.owner, len(all_open), own, tx.context)
    if isinstance(decided, Rejected):
        return decided
    full = tx.keep(found.owner, at_least=1)
    if full is not None:
        return full
    tx.append(v.verification_stream(command.job_id), decided)
    return {"job_id": shown, "status": v.VerificationStatus.QUEUED.value, "submitted_at": tx.now.isoformat()}


def _about_a_job(command: Any, tx: Transaction) -> Json | Rejected:
    """A builder's report, a timer's verdict, a cancellation."""
    found = tx.world.verification(command.job_id)
    if found is None:
        shown = v.shown_id(v.JOB_PREFIX, command.job_id)
        return Rejected(Rejection.JOB_NOT_FOUND, f"there is no job {shown}")
    decided = verification.decide(command, found, tx.context)
    if isinstance(decided, Rejected):
        return decided
    tx.append(v.verification_stream(found.job_id), decided)
    after = tx.world.verification(found.job_id)
    assert isinstance(after, Verification)
    # Tells a builder whether its stage is still wanted.
    return {"job_id": str(after.job_id), "status": after.status.value, "stage": after.stage, "attempt": after.attempt}


def _stage_completed(command: v.ReportStageCompleted, tx: Transaction) -> Json | Rejected:
    """What the stage left counts for the job's owner; without room for it the stage ends without a verdict."""
    decided = instead(command, tx.world, tx.storage, tx.rules)
    answer = _about_a_job(decided, tx)
    found = tx.world.verification(command.job_id)
    if decided is command and found is not None and not isinstance(answer, Rejected):
        tx.keep(found.owner)
    return answer


HANDLERS: dict[type, Any] = {
    v.CreateProject: _create,
    v.UpdateProject: _update,
    v.UploadFiles: _upload,
    v.DeleteProject: _delete,
    v.SubmitVerification: _submit,
    v.CancelVerification: _about_a_job,
    v.ReportStageStarted: _about_a_job,
    v.ReportStageCompleted: _stage_completed,
    v.ExpireStage: _about_a_job,
    v.RetryStage: _about_a_job,
}

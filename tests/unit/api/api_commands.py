"""A scheduler that accepts everything, or what it is told to refuse."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import msgspec
from api_verification import FakeVerification
from api_views import T0, FakeLedger, job

from lutlab_api.domain.errors import Unavailable
from lutlab_api.domain.views import (
    Failure,
    JobView,
    KeyView,
    StoredAnswer,
)
from lutlab_events.commands import Command, IssueKey, RecordRun, ReleaseSession, ResetBoard, RevokeKey, RotateKey
from lutlab_events.envelope import Answer
from lutlab_events.rejections import Rejection
from lutlab_events.values import JobStatus, JobType
from lutlab_events.verification import VerificationCommand


@dataclass(frozen=True)
class Sent:
    """A command as it was sent."""

    body: Command
    command_id: UUID
    actor: str
    correlation_id: UUID
    fingerprint: str


@dataclass
class FakeCommands:
    """A scheduler that accepts everything, or what `rejections` says; answers a repeated command id the same."""

    ledger: FakeLedger
    verification: FakeVerification
    sent: list[Sent] = field(default_factory=list)
    rejections: dict[type, Rejection] = field(default_factory=dict)
    is_down: bool = False
    swallow: int = 0
    """This many commands are taken, but not answered."""

    async def request(
        self,
        body: Command,
        *,
        command_id: UUID,
        actor: str,
        correlation_id: UUID,
        fingerprint: str,
        timeout_s: float,
    ) -> Answer:
        if self.is_down:
            raise Unavailable("the lab's message bus does not answer")
        stored = self.ledger.answers.get(command_id)
        if stored is not None and stored.fingerprint != fingerprint:
            return Answer(command_id=command_id, code=Rejection.IDEMPOTENCY_MISMATCH, message="another request")
        if stored is None:
            self.sent.append(Sent(body, command_id, actor, correlation_id, fingerprint))
            if self.swallow:
                self.swallow -= 1
                raise Unavailable("the scheduler did not answer within 5.0 s")
            stored = self._decide(body, fingerprint)
            self.ledger.answers[command_id] = stored
        return Answer(command_id=command_id, code=stored.code, message=stored.message, data=dict(stored.data))

    def _decide(self, body: Command, fingerprint: str) -> StoredAnswer:
        rejection = self.rejections.get(type(body))
        if rejection is not None:
            return StoredAnswer(fingerprint=fingerprint, code=rejection, message=f"no: {rejection}", data={})
        if isinstance(body, VerificationCommand):
            code, message, data = self.verification.decide(body)
            return StoredAnswer(fingerprint=fingerprint, code=code, message=message, data=data)
        if isinstance(body, IssueKey):
            self.ledger.key_views[body.key_sha256] = KeyView(
                key_id=body.key_id,
                key_sha256=body.key_sha256,
                owner=body.owner,
                role=body.role,
                label=body.label,
                named_scopes=body.scopes,
                team=body.team,
                expires_at=body.expires_at,
            )
        elif isinstance(body, RotateKey):
            name, view = next((n, k) for n, k in self.ledger.key_views.items() if k.key_id == body.key_id)
            del self.ledger.key_views[name]
            self.ledger.key_views[body.key_sha256] = replace(
                view, key_sha256=body.key_sha256, previous_sha256=name, previous_until=body.previous_until
            )
        elif isinstance(body, RevokeKey):
            for name, view in self.ledger.key_views.items():
                if view.key_id == body.key_id:
                    self.ledger.key_views[name] = replace(view, revoked_at=T0)
        elif isinstance(body, RecordRun):
            self.ledger.add(_run_job(body))
        told: dict[str, Any] = {"job_id": str(body.job_id), "status": "queued"} if hasattr(body, "job_id") else {}
        if isinstance(body, ReleaseSession | ResetBoard):
            told["fpga_id"] = body.fpga_id
        return StoredAnswer(fingerprint=fingerprint, code="ok", message="", data=told)


def _run_job(body: RecordRun) -> JobView:
    failure = None if body.failure is None else Failure(code=body.failure.code, message=body.failure.message)
    return job(
        100,
        job_id=body.job_id,
        type=JobType.RUN,
        status=JobStatus.FAILED if failure else JobStatus.COMPLETE,
        owner=body.owner,
        assigned_fpga_id=body.fpga_id,
        failure=failure,
        result={"ok": failure is None, "data": list(body.data)} | _ops_of(body),
    )


def _ops_of(body: RecordRun) -> dict[str, Any]:
    if not body.ops:
        return {}
    told = [{"ok": step.failure is None, "data": list(step.data), "error": step.failure} for step in body.ops]
    return {
        "data": [word for step in body.ops for word in step.data],
        "ops": [each | {"error": each["error"] and msgspec.to_builtins(each["error"])} for each in told],
    }

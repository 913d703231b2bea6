"""Views from aggregates: pure functions from a folded state to its row.

A row is written whole whenever its aggregate changed, in the transaction of the change, so a view is always what the
log says; rebuilding it is folding the log and writing every row again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from lutlab_events.values import Json
from lutlab_scheduler.app.ports import Row
from lutlab_scheduler.app.world import State
from lutlab_scheduler.domain.agent import Agent
from lutlab_scheduler.domain.board import Board
from lutlab_scheduler.domain.job import Job
from lutlab_scheduler.domain.key import Key
from lutlab_scheduler.domain.profile import Profile
from lutlab_scheduler.domain.project import Project
from lutlab_scheduler.domain.verification import Verification
from lutlab_scheduler.domain.webhook import Webhook

KEYS = {
    "boards": "fpga_id",
    "jobs": "job_id",
    "agents": "agent_id",
    "api_keys": "key_id",
    "profiles": "profile",
    "webhooks": "webhook_id",
    "projects": "project_id",
    "verifications": "job_id",
}
"""Each view's primary key."""


def project(state: State) -> Row:
    """The row of an aggregate."""
    return PROJECTORS[type(state)](state)


def _json(value: Any) -> Any:
    """A value as plain JSON data."""
    return msgspec.to_builtins(value)


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _board(board: Board) -> Row:
    session, claim, reset = board.session, board.claim, board.reset
    loading = board.loading.bitstream if board.loading else board.loaded
    job: tuple[Any, datetime | None] = (None, None)
    if claim is not None:
        job = (claim.job_id, claim.job_created_at)
    elif reset is not None and reset.job_id is not None:
        job = (reset.job_id, reset.job_created_at)
    elif session is not None:
        job = (session.job_id, session.job_created_at)
    values: Json = {
        "fpga_id": board.fpga_id,
        "board_key": board.board_key,
        "site": board.site,
        "agent_id": board.agent_id,
        "profile": board.profile,
        "labels": list(board.labels),
        "state": board.state.value,
        "epoch": board.epoch,
        "owner": session.owner if session else claim.owner if claim else None,
        "session_id": session.session_id if session else None,
        "session_created_at": _time(session.created_at) if session else None,
        "session_expires_at": _time(session.expires_at) if session else None,
        "current_job_id": job[0],
        "current_job_created_at": _time(job[1]),
        "bitstream": _json(loading),
        "deadline_at": _time(board.loading.deadline_at) if board.loading else None,
        "reset_attempts": reset.attempt if reset else 0,
        "error_code": board.failure.code if board.failure else None,
        "error_message": board.failure.message if board.failure else None,
        "service": board.absence.why.value if board.absence else None,
        "service_reason": board.absence.reason if board.absence else None,
        "version": board.version,
        "updated_at": _time(board.updated_at),
    }
    return Row(table="boards", values=values)


def _job(job: Job) -> Row:
    values: Json = {
        "job_id": job.job_id,
        "number": job.number,
        "type": job.type.value,
        "status": job.status.value,
        "owner": job.owner,
        "fpga_id": job.fpga_id,
        "pinned_fpga_id": job.pinned_fpga_id,
        "profile": job.profile,
        "build_stage": job.build_stage,
        "attempt": job.attempt,
        "source_digest": job.source_digest,
        "filename": job.filename,
        "top": job.top,
        "sys_clk_hz": job.sys_clk_hz,
        "timing_target_mhz": job.timing_target_mhz,
        "priority": job.priority or None,
        "labels": list(job.labels) or None,
        "bitstream": _json(job.bitstream),
        "report": job.report,
        "cached": job.cached,
        "result": job.result,
        "error_code": job.error_code,
        "error_message": job.error_message,
        "error_stage": job.error_stage,
        "deadline_at": _time(job.deadline_at),
        "correlation_id": job.correlation_id,
        "created_at": _time(job.created_at),
        "updated_at": _time(job.updated_at),
        "version": job.version,
    }
    return Row(table="jobs", values=values)


def _agent(agent: Agent) -> Row:
    values: Json = {
        "agent_id": agent.agent_id,
        "site": agent.site,
        "incarnation": agent.incarnation,
        "state": agent.state.value,
        "board_keys": list(agent.board_keys),
        "updated_at": _time(agent.updated_at),
        "version": agent.version,
    }
    return Row(table="agents", values=values)


def _key(key: Key) -> Row:
    values: Json = {
        "key_id": key.key_id,
        "key_sha256": key.key_sha256,
        "owner": key.owner,
        "role": key.role.value,
        "label": key.label,
        "created_at": _time(key.created_at),
        "revoked_at": _time(key.revoked_at),
        "scopes": None if key.scopes is None else [scope.value for scope in key.scopes],
        "team": key.team,
        "expires_at": _time(key.expires_at),
        "previous_sha256": key.previous_sha256,
        "previous_until": _time(key.previous_until),
    }
    return Row(table="api_keys", values=values)


def _profile(profile: Profile) -> Row:
    values: Json = {
        "profile": profile.profile,
        "base": _json(profile.base),
        "updated_at": _time(profile.updated_at),
    }
    return Row(table="profiles", values=values)


def _webhook(webhook: Webhook) -> Row:
    values: Json = {
        "webhook_id": webhook.webhook_id,
        "owner": webhook.owner,
        "url": webhook.url,
        "topics": [topic.value for topic in webhook.wanted.topics],
        "everyone": webhook.wanted.everyone,
        "project_id": webhook.wanted.project_id,
        "fpga_id": webhook.wanted.fpga_id,
        "ordered": webhook.ordered,
        "description": webhook.description,
        "state": webhook.state.value,
        "secret_box": webhook.secret_box,
        "previous_box": webhook.previous_box,
        "rotated_at": _time(webhook.rotated_at),
        "code": webhook.code,
        "message": webhook.message,
        "start_position": webhook.registered_at_position,
        "created_at": _time(webhook.created_at),
        "updated_at": _time(webhook.updated_at),
        "version": webhook.version,
    }
    return Row(table="webhooks", values=values)


def _project(project: Project) -> Row:
    values: Json = {
        "project_id": project.project_id,
        "owner": project.owner,
        "name": project.name,
        "top_module": project.top_module,
        "target_pdk": project.target_pdk,
        "description": project.description,
        "status": project.status.value,
        "files": {path: _json(project.files[path]) for path in sorted(project.files)},
        "created_at": _time(project.created_at),
        "updated_at": _time(project.updated_at),
        "version": project.version,
    }
    return Row(table="projects", values=values)


def _verification(job: Verification) -> Row:
    values: Json = {
        "job_id": job.job_id,
        "number": job.number,
        "project_id": job.project_id,
        "owner": job.owner,
        "status": job.status.value,
        "stages": list(job.stages),
        "current_stage": job.stage,
        "records": [_json(record) for record in job.records],
        "config_overrides": job.config_overrides,
        "files_digest": job.files_digest,
        "seed": job.seed,
        "attempt": job.attempt,
        "builder_id": job.builder_id,
        "error_code": job.error_code,
        "error_message": job.error_message,
        "deadline_at": _time(job.deadline_at),
        "correlation_id": job.correlation_id,
        "submitted_at": _time(job.submitted_at),
        "started_at": _time(job.started_at),
        "completed_at": _time(job.completed_at),
        "updated_at": _time(job.updated_at),
        "version": job.version,
    }
    return Row(table="verifications", values=values)


PROJECTORS: dict[type, Callable[[Any], Row]] = {
    Board: _board,
    Job: _job,
    Agent: _agent,
    Key: _key,
    Profile: _profile,
    Webhook: _webhook,
    Project: _project,
    Verification: _verification,
}

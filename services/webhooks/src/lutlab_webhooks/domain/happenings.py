"""What a recorded event means to a subscriber. Works on stored JSON; unknown events are passed by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from lutlab_events.verification import JOB_PREFIX, PROJECT_PREFIX, shown_id
from lutlab_events.webhooks import Topic, WebhookFilter

BODY_BYTES_MAX = 20_000
TEXT_CHARS_MAX = 4000
SHORT_CHARS_MAX = 200
NUMBERS_MAX = 20

STATUS = {
    Topic.JOB_QUEUED: "queued",
    Topic.JOB_STARTED: "running",
    Topic.JOB_COMPLETED: "complete",
    Topic.JOB_FAILED: "failed",
    Topic.JOB_CANCELLED: "cancelled",
    Topic.RUN_COMPLETED: "complete",
    Topic.RUN_FAILED: "failed",
    Topic.STAGE_COMPLETED: "passed",
}
_ENDS = {
    "job.completed.v1": Topic.JOB_COMPLETED,
    "job.failed.v1": Topic.JOB_FAILED,
    "job.cancelled.v1": Topic.JOB_CANCELLED,
}
_OF_VERIFICATION: dict[str, tuple[Topic, str | None]] = {
    "verification.submitted.v1": (Topic.JOB_QUEUED, "queued"),
    "verification.started.v1": (Topic.JOB_STARTED, "running"),
    "verification.stage_completed.v1": (Topic.STAGE_COMPLETED, None),
    "verification.completed.v1": (Topic.JOB_COMPLETED, "passed"),
    "verification.failed.v1": (Topic.JOB_FAILED, "failed"),
    "verification.cancelled.v1": (Topic.JOB_CANCELLED, "cancelled"),
}
_BOARDS = {
    "board.programmed.v1": Topic.SESSION_STARTED,
    "board.session_ended.v1": Topic.SESSION_ENDED,
    "board.lost.v1": Topic.BOARD_LOST,
    "board.attached.v1": Topic.BOARD_ATTACHED,
}
_SHOWN = ("code", "message", "stage", "by", "reason", "builder_id", "attempt", "cached", "filename", "top", "profile")
_SHOWN_OF_BOARDS = ("reason", "agent_id", "session_id", "session_expires_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event of the log, with what a subscriber needs beside it.

    Attributes:
        owner, job_type, fpga_id: of the job it is about, as far as it is about one.
        previous_stage: the build stage before this event, for those that end one.
        project: of the verification job it is about.
    """

    position: int
    stream: str
    version: int
    type: str
    at: datetime
    correlation_id: UUID
    data: Mapping[str, Any]
    owner: str | None = None
    job_type: str | None = None
    fpga_id: int | None = None
    previous_stage: str | None = None
    project: UUID | None = None

    @property
    def project_id(self) -> str | None:
        """The project of the job, where jobs have one, as callers see it."""
        return None if self.project is None else shown_id(PROJECT_PREFIX, self.project)

    @property
    def job_id(self) -> str | None:
        """The job it is about, as callers see it."""
        aggregate, _, name = self.stream.partition("-")
        if aggregate == "verification":
            return shown_id(JOB_PREFIX, UUID(name))
        return name if aggregate == "job" else self.data.get("job_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something a subscriber may want to hear of; `status` where the topic alone does not say it."""

    topic: Topic
    event: Recorded
    summary: Mapping[str, Any]
    status: str | None = None


def happenings(event: Recorded) -> Iterator[Happening]:
    """What an event means, in order; nothing for most events."""
    aggregate = event.stream.partition("-")[0]
    if aggregate == "job":
        yield from _of_job(event)
    elif aggregate == "verification" and event.type in _OF_VERIFICATION:
        yield _of_verification(event)
    elif aggregate == "board" and event.type in _BOARDS:
        yield Happening(topic=_BOARDS[event.type], event=event, summary=_pick(event.data, _SHOWN_OF_BOARDS))


def _of_job(event: Recorded) -> Iterator[Happening]:
    shown = _pick(event.data, _SHOWN)
    if event.type == "job.run_recorded.v1":
        failure = event.data.get("failure")
        topic = Topic.RUN_FAILED if failure else Topic.RUN_COMPLETED
        summary = failure or _pick(event.data, ("op", "address_bytes", "count"))
        yield Happening(topic=topic, event=event, summary=summary)
        return
    if event.type == "job.submitted.v1":
        yield Happening(topic=Topic.JOB_QUEUED, event=event, summary=shown)
        return
    if event.version == 2 and event.type not in _ENDS:
        yield Happening(topic=Topic.JOB_STARTED, event=event, summary=shown)
    ended_stage = event.previous_stage
    if ended_stage and event.type in ("job.build_stage_entered.v1", "job.build_succeeded.v1"):
        yield Happening(topic=Topic.STAGE_COMPLETED, event=event, summary={"stage": ended_stage})
    if event.type in _ENDS:
        yield Happening(topic=_ENDS[event.type], event=event, summary=shown)


def _of_verification(event: Recorded) -> Happening:
    """The contract's events of verification jobs."""
    topic, status = _OF_VERIFICATION[event.type]
    summary = dict(event.data.get("summary") or {}) | _pick(event.data, (*_SHOWN, "stages", "seed"))
    if topic is Topic.STAGE_COMPLETED:
        outcome = event.data["outcome"]
        status = str(outcome["status"])
        numbers = {name: value for name, value in outcome.get("summary", {}).items() if _is_short(value)}
        summary = {"stage": event.data["stage"], "seconds": outcome.get("seconds"), **numbers}
        summary |= _pick(outcome, ("code", "reason"))
    return Happening(topic=topic, event=event, summary=summary, status=status)


def _is_short(value: Any) -> bool:
    """Whether a value of a summary fits a payload: numbers, short texts, and small objects of those."""
    if isinstance(value, dict):
        return len(value) <= NUMBERS_MAX and all(_is_short(inner) for inner in value.values())
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and len(value) <= SHORT_CHARS_MAX)


def _pick(data: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    picked = {name: data[name] for name in names if data.get(name) is not None}
    return {name: v[:TEXT_CHARS_MAX] if isinstance(v, str) else v for name, v in picked.items()}


def is_wanted(happening: Happening, wanted: WebhookFilter, owner: str) -> bool:
    """Whether an endpoint of `owner` gets it."""
    event = happening.event
    if happening.topic not in wanted.topics:
        return False
    if event.owner not in (None, owner) and not wanted.everyone:
        return False
    if wanted.project_id is not None and wanted.project_id != event.project_id:
        return False
    return wanted.fpga_id is None or wanted.fpga_id == event.fpga_id


def body_of(happening: Happening, delivery_id: UUID) -> str:
    """The payload: the contract's fields, and ours. At most `BODY_BYTES_MAX` bytes."""
    event = happening.event
    fields: dict[str, Any] = {
        "event": happening.topic.value,
        "timestamp": event.at.isoformat().replace("+00:00", "Z"),
        "job_id": event.job_id,
        "project_id": event.project_id,
        "status": happening.status or STATUS.get(happening.topic),
        "summary": dict(happening.summary),
        "id": str(delivery_id),
        "position": event.position,
        "type": event.job_type,
        "owner": event.owner,
        "fpga_id": event.fpga_id,
        "correlation_id": str(event.correlation_id),
    }
    text = json.dumps(fields, separators=(",", ":"))
    if len(text) > BODY_BYTES_MAX:  # json escapes everything beyond ASCII: characters are bytes
        text = json.dumps({**fields, "summary": {"truncated": True}}, separators=(",", ":"))
    assert len(text) <= BODY_BYTES_MAX, "every other field is short"
    return text

"""What a recorded event means to a subscriber. Works on stored JSON; unknown events are passed by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from lutlab_events.webhooks import Topic, WebhookFilter

BODY_BYTES_MAX = 20_000
TEXT_CHARS_MAX = 4000

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

    @property
    def project_id(self) -> str | None:
        """The project of the job, where jobs have one."""
        value = self.data.get("project_id")
        return None if value is None else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something a subscriber may want to hear of."""

    topic: Topic
    event: Recorded
    summary: Mapping[str, Any]


def happenings(event: Recorded) -> Iterator[Happening]:
    """What an event means, in order; nothing for most events."""
    aggregate = event.stream.partition("-")[0]
    if aggregate == "job":
        yield from _of_job(event)
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
    aggregate, _, name = event.stream.partition("-")
    fields: dict[str, Any] = {
        "event": happening.topic.value,
        "timestamp": event.at.isoformat().replace("+00:00", "Z"),
        "job_id": name if aggregate == "job" else event.data.get("job_id"),
        "project_id": event.project_id,
        "status": STATUS.get(happening.topic),
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

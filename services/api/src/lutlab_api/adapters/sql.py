"""Queries whose conditions depend on what was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutlab_api.adapters.rows import JOBS, KEYS
from lutlab_api.app.ports import EventFilter, JobFilter, KeyFilter
from lutlab_api.domain.errors import Code
from lutlab_events.values import JobStatus, JobType


@dataclass(frozen=True)
class Query:
    """SQL with `$1`, `$2`, ... and their values."""

    text: str
    values: tuple[Any, ...] = ()


class Where:
    """Conditions joined by `and`; each `?` becomes the next parameter."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.values: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        """One more condition."""
        for value in values:
            self.values.append(value)
            condition = condition.replace("?", f"${len(self.values)}", 1)
        self.conditions.append(condition)

    def text(self) -> str:
        """The `where` clause; empty without conditions."""
        return f" where {' and '.join(self.conditions)}" if self.conditions else ""

    def query(self, select: str, order_by: str, limit: int, offset: int = 0) -> Query:
        """The whole query."""
        tail = f" offset {int(offset)}" if offset else ""
        return Query(f"{select}{self.text()} order by {order_by} limit {int(limit)}{tail}", tuple(self.values))


def jobs_query(wanted: JobFilter) -> Query:
    """Jobs, newest first. Status means the public one, see `JobView.public_status`."""
    where = _jobs_where(wanted)
    if wanted.before is not None:
        where.add("number < (select number from jobs where job_id = ?)", wanted.before)
    return where.query(JOBS, "number desc", wanted.limit, wanted.offset)


def jobs_count_query(wanted: JobFilter) -> Query:
    """How many jobs there are in all."""
    where = _jobs_where(wanted)
    return Query(f"select count(*) from jobs{where.text()}", tuple(where.values))  # noqa: S608 - our own conditions


def _jobs_where(wanted: JobFilter) -> Where:
    where = Where()
    if wanted.owner is not None:
        where.add("owner = ?", wanted.owner)
    if wanted.type is not None:
        where.add("type = ?", wanted.type.value)
    answered = (JobType.RUN.value, Code.BUS_ERROR.value)
    if wanted.status is JobStatus.COMPLETE:
        where.add("(status = 'complete' or (status = 'failed' and type = ? and error_code = ?))", *answered)
    elif wanted.status is JobStatus.FAILED:
        where.add("(status = 'failed' and not (type = ? and coalesce(error_code, '') = ?))", *answered)
    elif wanted.status is not None:
        where.add("status = ?", wanted.status.value)
    return where


def keys_query(wanted: KeyFilter) -> Query:
    """Keys, newest first."""
    where = Where()
    if wanted.owner is not None:
        where.add("k.owner = ?", wanted.owner)
    if wanted.after is not None:
        at, key_id = wanted.after
        where.add("(k.created_at < ? or (k.created_at = ? and k.key_id > ?))", at, at, key_id)
    return where.query(KEYS, "k.created_at desc, k.key_id", wanted.limit, wanted.offset)


def visible(where: Where, owner: str) -> None:
    """Only what a member may see: events of boards, and of the owner's own jobs and projects."""
    own = "exists (select from jobs where owner = ? and job_id = substr(events.stream, 5)::uuid)"
    verified = "exists (select from verifications where owner = ? and job_id = substr(events.stream, 14)::uuid)"
    project = "exists (select from projects where owner = ? and project_id = substr(events.stream, 9)::uuid)"
    where.add(
        f"case when stream like 'job-%' then {own} when stream like 'verification-%' then {verified} "
        f"when stream like 'project-%' then {project} else stream like 'board-%' end",
        owner,
        owner,
        owner,
    )


def events_query(wanted: EventFilter) -> Query:
    """Events, oldest first."""
    where = Where()
    where.add("position > ?", wanted.after)
    if wanted.stream is not None:
        where.add("stream = ?", wanted.stream)
    if wanted.visible_to is not None:
        visible(where, wanted.visible_to)
    select = "select position, stream, version, type, at, actor, correlation_id, data from events"
    # Within a stream the version runs with the position, and has an index.
    return where.query(select, "position" if wanted.stream is None else "version", wanted.limit)

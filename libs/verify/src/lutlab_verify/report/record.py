"""A job as reports see it: plain values, the same on the web and in a file.

Everything in it is in the API's answers too, so that a report can be made from either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

Json = dict[str, Any]

SCHEMA = "lutlab.report/1"
"""The version of the JSON form; readers refuse what they do not know."""


class BadRecord(ValueError):
    """A JSON value is no job's record; the message says where."""

    code = "bad_record"


@dataclass(frozen=True)
class ArtifactRecord:
    """A file a stage left.

    Attributes:
        name: as the API serves it under `/jobs/{id}/artifacts/`.
        media_type: its type.
        size_bytes: its size.
    """

    name: str
    media_type: str = "application/octet-stream"
    size_bytes: int | None = None


@dataclass(frozen=True)
class StageRecord:
    """A stage and what it found.

    Attributes:
        stage: `lint`, `simulation` ...
        status: `passed`, `failed`, `skipped`, `error`, or of one that has not ended: `queued`, `running`, `cancelled`.
        summary: the stage's object in `GET /jobs/{id}/results`, without its status.
        details: `findings`, `tests`, `properties`, `coverage` ... as the engines give them.
        reason: why it was skipped or has no verdict.
        seconds: how long it ran.
        started_s: when it began, in seconds after the job's beginning; None if it did not.
        resources: `cpu_s`, `peak_rss_bytes` where measured.
        artifacts: files it left.
    """

    stage: str
    status: str
    summary: Json = field(default_factory=dict)
    details: Json = field(default_factory=dict)
    reason: str | None = None
    seconds: float = 0.0
    started_s: float | None = None
    resources: Json = field(default_factory=dict)
    artifacts: tuple[ArtifactRecord, ...] = ()

    def listed(self, name: str) -> list[Json]:
        """A list of the details: `findings`, `tests` or `properties`; empty if there is none."""
        found = self.details.get(name)
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []

    @property
    def coverage(self) -> Json:
        """The details' coverage, with its files; empty if none was collected."""
        found = self.details.get("coverage")
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class JobRecord:
    """A verification job with everything a report shows.

    Attributes:
        job_id, project_id, project: whose job; `project` is the project's name.
        status: the overall one: `passed`, `failed`, `cancelled`, or of one that has not ended: `queued`, `running`.
        submitted_at, started_at, ended_at: RFC 3339, as the API writes them.
        stages: in the order they ran.
        top_module, target_pdk: the design's.
        seed: of the run.
        tools: versions by tool.
        sources: text of source files by name, for coverage beside the code; may be incomplete.
    """

    job_id: str
    project_id: str
    project: str
    status: str
    stages: tuple[StageRecord, ...]
    submitted_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    top_module: str | None = None
    target_pdk: str | None = None
    seed: int | None = None
    tools: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def stage(self, name: str) -> StageRecord | None:
        """A stage by name."""
        return next((stage for stage in self.stages if stage.stage == name), None)

    def listed(self, name: str) -> list[Json]:
        """A list of the details over all stages: `findings`, `tests` or `properties`."""
        return [item for stage in self.stages for item in stage.listed(name)]

    @property
    def coverage(self) -> Json:
        """The coverage of the first stage that has any."""
        return next((stage.coverage for stage in self.stages if stage.coverage), {})

    def only(self, include: Iterable[str] | None) -> JobRecord:
        """The record with these stages only, in the job's order; None means all, and unknown ones are passed over."""
        if include is None:
            return self
        wanted = set(include)
        return replace(self, stages=tuple(stage for stage in self.stages if stage.stage in wanted))


def to_json(job: JobRecord) -> Json:
    """A record as JSON values; `from_json` reads it back."""
    return {"schema": SCHEMA, **asdict(job), "tools": dict(job.tools), "sources": dict(job.sources)}


def from_json(value: Any) -> JobRecord:
    """A record from its JSON values. Raises: BadRecord."""
    try:
        if value["schema"] != SCHEMA:
            raise BadRecord(f"schema {value['schema']!r} is not {SCHEMA}")
        stages = tuple(_stage(stage) for stage in value["stages"])
        return JobRecord(**{**{k: v for k, v in value.items() if k != "schema"}, "stages": stages})
    except (KeyError, TypeError, AttributeError) as error:
        raise BadRecord(f"not a job's record: {type(error).__name__} {error}") from error


def _stage(value: Mapping[str, Any]) -> StageRecord:
    artifacts = tuple(ArtifactRecord(**artifact) for artifact in _sequence(value.get("artifacts", ())))
    return StageRecord(**{**value, "artifacts": artifacts})


def _sequence(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise BadRecord(f"{type(value).__name__} is not a list")
    return value

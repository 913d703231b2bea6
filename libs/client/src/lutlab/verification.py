"""Projects and verification jobs over HTTP; `Client.verification` is one of these.

```python
with Client() as lab:
    check = lab.verification
    project = check.find("fifo") or check.create("fifo", "fifo", "sky130")
    check.upload(project.id, {"lutlab.yaml": ..., "rtl/fifo.sv": ...}, replace=True)
    job = check.wait(check.submit(project.id, ["lint", "formal"]).job_id)
    print(job.status, check.results(job.job_id)["stages"]["formal"])
```
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx
import msgspec

from lutlab.errors import LutlabError, TimedOut, Unreachable
from lutlab.http import Http
from lutlab.models import Model

JOB_TIMEOUT_S = 4 * 3600.0
UPLOAD_BYTES_MAX = 100 << 20
"""How much one request may upload (the contract's limit)."""
PAGES_MAX = 1_000
PER_PAGE = 100
POLL_S = 0.25
LONG_POLL_S = 2
"""How long the lab holds a question while nothing changes. Stages' ends answer it at once; what a stage tells while it
runs is only looked at when it is asked again."""
OPEN = frozenset({"queued", "running"})
PREFIX = "job_"
"""How the id of a verification job begins; a board job's does not."""


class Project(Model, frozen=True, kw_only=True):
    """A project."""

    id: str
    name: str
    top_module: str
    target_pdk: str
    status: str
    created_at: datetime
    updated_at: datetime | None = None
    description: str = ""
    files: int = 0
    owner: str | None = None


class StageState(Model, frozen=True, kw_only=True):
    """Where a stage stands: its status, and while it runs how far it is, e.g. `7/10 tests`."""

    status: str
    duration: str | None = None
    progress: str | None = None
    reason: str | None = None


class VerificationJob(Model, frozen=True, kw_only=True):
    """A job of stages.

    Attributes:
        status: `queued`, `running`, or how it ended: `passed`, `failed`, `cancelled`.
        progress: by stage.
    """

    job_id: str
    status: str
    progress: Mapping[str, StageState] = msgspec.field(default_factory=dict)
    project_id: str | None = None
    stages: tuple[str, ...] = ()
    seed: int | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    estimated_duration: str | None = None
    error: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status not in OPEN


class LogLine(Model, frozen=True, kw_only=True):
    """A line of a job's log."""

    timestamp: datetime
    stage: str
    level: str
    message: str


class StoredArtifact(Model, frozen=True, kw_only=True):
    """Something a stage left."""

    name: str
    stage: str = ""
    media_type: str = "application/octet-stream"
    size_bytes: int = 0


class VerificationClient:
    """Projects, uploads, jobs, results and reports."""

    def __init__(self, http: Http) -> None:
        self._http = http

    # -- projects ----------------------------------------------------------------------------------

    def create(self, name: str, top_module: str, target_pdk: str, description: str = "") -> Project:
        """Make a project. Raises: Refused, if the name is taken."""
        body = {"name": name, "top_module": top_module, "target_pdk": target_pdk, "description": description}
        return self._http.typed("POST", "/api/v1/projects", Project, json=body)

    def projects(self, *, name: str | None = None, sort: str = "updated_at") -> Iterator[Project]:
        """Your projects; with `name`, those whose name contains it."""
        params: dict[str, Any] = {"per_page": PER_PAGE, "sort": sort} | ({"name": name} if name else {})
        for _ in range(PAGES_MAX):
            found = self._http.typed("GET", "/api/v1/projects", _Page, params=params)
            yield from found.projects
            if found.next_cursor is None:
                return
            params |= {"cursor": found.next_cursor}

    def find(self, name: str) -> Project | None:
        """Your project of this name, if there is one."""
        return next((project for project in self.projects(name=name) if project.name == name), None)

    def project(self, project: str) -> Project:
        """One project."""
        return self._http.typed("GET", f"/api/v1/projects/{project}", Project)

    def update(self, project: str, **changes: str) -> Project:
        """Change `name`, `top_module`, `target_pdk` or `description`; the rest stays."""
        return self._http.typed("PUT", f"/api/v1/projects/{project}", Project, json=changes)

    def delete(self, project: str) -> None:
        """Forget a project and cancel its open jobs."""
        self._http.request("DELETE", f"/api/v1/projects/{project}")

    def upload(self, project: str, files: Mapping[str, bytes], *, replace: bool = False) -> list[str]:
        """Add files, or replace those of the same path.

        Args:
            files: paths within the project to contents.
            replace: in place of all that are there.

        Returns:
            The paths as they were stored.
        """
        parts = [("files[]", (path, data)) for path, data in files.items()]
        params = {"replace": "true"} if replace else {}
        path = f"/api/v1/projects/{project}/upload"
        return self._http.typed("POST", path, _Upload, files=parts, params=params).files

    # -- jobs --------------------------------------------------------------------------------------

    def submit(
        self,
        project: str,
        stages: Sequence[str],
        *,
        overrides: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> VerificationJob:
        """Run stages over a project's files.

        Args:
            overrides: dotted paths of the configuration to values, e.g. `{"verification.formal.depth": 50}`.
            seed: of whatever is random; None for a new one.
        """
        body: dict[str, Any] = {"stages": list(stages), "config_overrides": dict(overrides or {})}
        if seed is not None:
            body["seed"] = seed
        return self._http.typed("POST", f"/api/v1/projects/{project}/jobs", VerificationJob, json=body)

    def job(self, job: str) -> VerificationJob:
        """Where a job and its stages stand."""
        return self._http.typed("GET", f"/api/v1/jobs/{job}", VerificationJob)

    def jobs(self, project: str) -> Iterator[VerificationJob]:
        """A project's jobs, newest first."""
        params: dict[str, Any] = {"per_page": PER_PAGE}
        for _ in range(PAGES_MAX):
            found = self._http.typed("GET", f"/api/v1/projects/{project}/jobs", _Jobs, params=params)
            yield from found.jobs
            if found.next_cursor is None:
                return
            params |= {"cursor": found.next_cursor}

    def cancel(self, job: str) -> None:
        """Stop a job that has not ended."""
        self._http.request("POST", f"/api/v1/jobs/{job}/cancel")

    def wait(
        self,
        job: str,
        *,
        timeout_s: float = JOB_TIMEOUT_S,
        on_change: Callable[[VerificationJob], None] = lambda _: None,
    ) -> VerificationJob:
        """Wait until a job has ended, in whatever way.

        Args:
            on_change: called at first and whenever anything about its stages changed.

        Raises:
            TimedOut: it has not ended in time; it goes on.
        """
        deadline = time.monotonic() + timeout_s
        tag: str | None = None
        while True:
            headers = {"Prefer": f"wait={LONG_POLL_S}", "If-None-Match": tag} if tag else {}
            response = self._http.request("GET", f"/api/v1/jobs/{job}", headers=headers)
            held = "Preference-Applied" in response.headers
            if response.status_code != httpx.codes.NOT_MODIFIED:
                found = self._http.decode(response.content, VerificationJob)
                tag = response.headers.get("ETag")
                on_change(found)
                if found.ended:
                    return found
            if time.monotonic() > deadline:
                raise TimedOut(f"job {job} has not ended after {timeout_s:g} s")
            if tag is None or (headers and not held):  # a lab that answers at once is not asked all the time
                time.sleep(POLL_S)

    def logs(self, job: str, *, stage: str | None = None, tail: int | None = None) -> list[LogLine]:
        """A job's log so far."""
        params: dict[str, Any] = {"stage": stage, "tail": tail}
        wanted = {name: value for name, value in params.items() if value is not None}
        return self._http.typed("GET", f"/api/v1/jobs/{job}/logs", _Logs, params=wanted).logs

    def follow(self, job: str, *, stage: str | None = None, tail: int | None = None) -> Iterator[LogLine]:
        """A job's log from its beginning, or from its last `tail` lines, as it comes, until the job has ended.

        A lab that is started again meanwhile is asked anew for what was not heard yet, unless a `tail` was wanted.

        Raises:
            Unreachable, Refused: the lab cannot be heard.
        """
        heard = 0
        while True:
            try:
                for number, line in enumerate(self._followed(job, stage, tail)):
                    if number >= heard:
                        heard += 1
                        yield line
            except Unreachable:
                if tail is not None or heard == 0:
                    raise
                self.job(job)  # waits until the lab is back
                continue
            if tail is not None or self.job(job).ended:  # a lab that stops ends the log as a job does
                return

    def _followed(self, job: str, stage: str | None, tail: int | None) -> Iterator[LogLine]:
        params: dict[str, Any] = {"follow": "true", "stage": stage, "tail": tail}
        wanted = {name: value for name, value in params.items() if value is not None}
        for line in self._http.lines(f"/api/v1/jobs/{job}/logs", params=wanted):
            if line.startswith('{"error"'):
                told = self._http.decode(line.encode(), _Broken).error
                raise LutlabError(f"the log is not followed any more: {told.get('message')}")
            yield self._http.decode(line.encode(), LogLine)

    # -- results -----------------------------------------------------------------------------------

    def results(self, job: str, area: str | None = None) -> dict[str, Any]:
        """What all stages found; or everything about one: a stage, `coverage`, or an area of crypto."""
        path = f"/api/v1/jobs/{job}/results" + (f"/{area}" if area else "")
        return self._http.typed("GET", path, dict[str, Any])

    def artifacts(self, job: str) -> list[StoredArtifact]:
        """What its stages left."""
        return self._http.typed("GET", f"/api/v1/jobs/{job}/artifacts", _Artifacts).artifacts

    def download(self, job: str, name: str, *, stage: str | None = None) -> bytes:
        """One artifact; of this stage, where several left the name."""
        params = {"stage": stage} if stage else {}
        return self._http.request("GET", f"/api/v1/jobs/{job}/artifacts/{name}", params=params).content

    def report(
        self,
        job: str,
        format: str = "html",  # noqa: A002 - the contract's name
        *,
        include: Sequence[str] | None = None,
        template: str | None = None,
    ) -> bytes:
        """A report: `html`, `json`, `sarif`, `junit` or `markdown`."""
        body = {"format": format, "include": include, "template": template}
        return self._http.request("POST", f"/api/v1/jobs/{job}/reports", json=body).content

    def compare(self, before: str, after: str) -> dict[str, Any]:
        """What got `better` and `worse` from one job to a later one, and `other` changes."""
        return self._http.typed("GET", f"/api/v1/jobs/{before}/compare/{after}", dict[str, Any])

    def trend(self, project: str) -> list[dict[str, Any]]:
        """The figures of a project's newest jobs, oldest first; None where a job had no such stage."""
        return self._http.typed("GET", f"/api/v1/projects/{project}/trend", _Trend).points


class _Trend(Model, frozen=True, kw_only=True):
    points: list[dict[str, Any]]


class _Page(Model, frozen=True, kw_only=True):
    projects: list[Project]
    next_cursor: str | None = None


class _Jobs(Model, frozen=True, kw_only=True):
    jobs: list[VerificationJob]
    next_cursor: str | None = None


class _Upload(Model, frozen=True, kw_only=True):
    files: list[str]


class _Logs(Model, frozen=True, kw_only=True):
    logs: list[LogLine]


class _Broken(Model, frozen=True, kw_only=True):
    error: dict[str, Any]


class _Artifacts(Model, frozen=True, kw_only=True):
    artifacts: list[StoredArtifact]

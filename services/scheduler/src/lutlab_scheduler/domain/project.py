"""A verification project: a name, a top module, and files by path.

Theory. A project is `created`, becomes `active` with its first files, and ends `deleted`. Its name is unique among its
owner's projects that are not deleted; the caller of `create` and `update` knows whether it is taken. Files are named by
digest, so the log holds no contents and jobs that named a file set before an upload still mean the same.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from lutlab_events import verification as v
from lutlab_events.envelope import Happened
from lutlab_events.rejections import Rejection
from lutlab_scheduler.domain.machine import START, Table, follow
from lutlab_scheduler.domain.outcome import Rejected

PROJECTS_PER_OWNER_MAX = 1000
FILES_MAX = 2000
BYTES_MAX = 100 << 20
"""Of all files of a project together; what a job's folder may weigh."""

P = v.ProjectStatus
TRANSITIONS: Table[v.ProjectStatus] = {
    (START, v.ProjectCreated): (P.CREATED,),
    (P.CREATED, v.ProjectUpdated): (P.CREATED,),
    (P.ACTIVE, v.ProjectUpdated): (P.ACTIVE,),
    (P.CREATED, v.FilesUploaded): (P.ACTIVE,),
    (P.ACTIVE, v.FilesUploaded): (P.ACTIVE,),
    (P.CREATED, v.ProjectDeleted): (P.DELETED,),
    (P.ACTIVE, v.ProjectDeleted): (P.DELETED,),
}
ENDED = frozenset({P.DELETED})

Decided = list[v.ProjectEvent] | Rejected


class Project(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the log says about one project."""

    project_id: UUID
    owner: str
    name: str
    top_module: str
    target_pdk: str
    description: str
    status: v.ProjectStatus
    created_at: datetime
    updated_at: datetime
    version: int
    files: dict[str, v.FileRef] = {}

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to the project any more."""
        return self.status in ENDED


def evolve(project: Project | None, envelope: Happened) -> Project:
    """The project after a recorded event. Raises: IllegalTransition."""
    event = envelope.body
    status = follow(TRANSITIONS, envelope.stream, START if project is None else project.status, event)
    if isinstance(event, v.ProjectCreated):
        return Project(
            project_id=event.project_id,
            owner=event.owner,
            name=event.name,
            top_module=event.top_module,
            target_pdk=event.target_pdk,
            description=event.description,
            status=status,
            created_at=envelope.at,
            updated_at=envelope.at,
            version=envelope.version,
        )
    assert project is not None
    project = replace(project, status=status, version=envelope.version, updated_at=envelope.at)
    match event:
        case v.ProjectUpdated():
            given = {name: value for name in CHANGEABLE if (value := getattr(event, name)) is not None}
            return replace(project, **given)
        case v.FilesUploaded():
            return replace(project, files=_files_after(project, event.files, replaced=event.replaced))
        case _:
            return replace(project, files={})


CHANGEABLE = ("name", "top_module", "target_pdk", "description")


def _files_after(project: Project, files: dict[str, v.FileRef], *, replaced: bool) -> dict[str, v.FileRef]:
    return dict(files) if replaced else {**project.files, **files}


def create(command: v.CreateProject, project: Project | None, owned: int, *, is_taken: bool) -> Decided:
    """Make a project whose id and name are new.

    Args:
        owned: how many projects its owner has.
        is_taken: whether one of them has this name.
    """
    if project is not None:
        return Rejected(Rejection.PROJECT_EXISTS, f"project {command.project_id} exists already; use a new id")
    if is_taken:
        return _name_taken(command.name)
    if owned >= PROJECTS_PER_OWNER_MAX:
        return Rejected(
            Rejection.TOO_MANY_PROJECTS,
            f"{command.owner!r} has {owned} projects, the most there may be; delete one first",
        )
    return [
        v.ProjectCreated(
            project_id=command.project_id,
            owner=command.owner,
            name=command.name,
            top_module=command.top_module,
            target_pdk=command.target_pdk,
            description=command.description,
        )
    ]


def usable(project: Project | None, project_id: UUID, owner: str, *, is_admin: bool) -> Project | Rejected:
    """The project, if it exists and this caller may change it."""
    if project is None or project.ended:
        shown = v.shown_id(v.PROJECT_PREFIX, project_id)
        return Rejected(Rejection.PROJECT_NOT_FOUND, f"there is no project {shown}; list yours: GET /api/v1/projects")
    if project.owner != owner and not is_admin:
        shown = v.shown_id(v.PROJECT_PREFIX, project_id)
        return Rejected(Rejection.NOT_YOUR_PROJECT, f"project {shown} belongs to somebody else")
    return project


def update(command: v.UpdateProject, project: Project, *, is_taken: bool) -> Decided:
    """Change what differs. `is_taken`: another project of the owner has the new name."""
    if is_taken:
        return _name_taken(command.name or "")
    changed = {
        name: value
        for name in CHANGEABLE
        if (value := getattr(command, name)) is not None and value != getattr(project, name)
    }
    return [v.ProjectUpdated(**changed)] if changed else []


def upload(command: v.UploadFiles, project: Project) -> Decided:
    """Add or replace files, within what a project may hold."""
    files = _files_after(project, command.files, replaced=command.replace)
    size = sum(file.size_bytes for file in files.values())
    if len(files) > FILES_MAX or size > BYTES_MAX:
        return Rejected(
            Rejection.PROJECT_FULL,
            f"{project.name} would have {len(files)} files of {size} bytes; a project may have {FILES_MAX} files of "
            f"{BYTES_MAX} bytes; upload with replace=true to leave old ones out",
        )
    return [v.FilesUploaded(files=command.files, replaced=command.replace)]


def _name_taken(name: str) -> Rejected:
    return Rejected(Rejection.PROJECT_EXISTS, f"you have a project {name!r} already; choose another name")

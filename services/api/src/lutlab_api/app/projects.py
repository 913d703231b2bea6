"""Projects of verification: made, changed, filled with files, listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lutlab_api.app.asking import Asking, Request
from lutlab_api.app.ports import Blobs, Ledger
from lutlab_api.app.storage import Storage
from lutlab_api.app.verification_ports import ProjectFilter, VerificationStore
from lutlab_api.domain.errors import NotAllowed
from lutlab_api.domain.project_files import check_tree
from lutlab_api.domain.verification import ProjectView, parse_project, project_not_found
from lutlab_api.domain.views import Caller
from lutlab_events.ids import derived, digest
from lutlab_events.rejections import Rejection
from lutlab_events.verification import (
    CreateProject,
    DeleteProject,
    FileRef,
    ProjectStatus,
    UpdateProject,
    UploadFiles,
)


class Projects:
    """What callers do with projects."""

    def __init__(
        self, asking: Asking, store: VerificationStore, ledger: Ledger, blobs: Blobs, storage: Storage
    ) -> None:
        self._asking = asking
        self._store = store
        self._ledger = ledger
        self._blobs = blobs
        self._storage = storage

    async def create(self, request: Request, *, name: str, top: str, pdk: str, description: str) -> ProjectView:
        """Make a project. Raises: Refused (`project_exists`, `too_many_projects`), Unavailable."""
        command_id = self._asking.command_id(request)
        project_id = derived("project", command_id)
        body = CreateProject(
            project_id=project_id,
            owner=request.caller.owner,
            name=name,
            top_module=top,
            target_pdk=pdk,
            description=description,
        )
        fingerprint = request.fingerprint(name, top, pdk, description)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=fingerprint)
        made = await self._store.project(project_id)
        assert made is not None, "views are written with the events"
        return made

    async def get(self, text: str, caller: Caller) -> ProjectView:
        """One project. Raises: Missing; NotAllowed, if it is neither the caller's nor the caller's team's."""
        project = await self._store.project(parse_project(text))
        if project is None or project.status is ProjectStatus.DELETED:
            raise project_not_found(text)
        await self.check_readable(project.owner, caller, f"project {project.shown}")
        return project

    async def check_readable(self, owner: str, caller: Caller, what: str) -> None:
        """Pass the owner, the owner's team and admins. Raises: NotAllowed."""
        if caller.is_admin or caller.owner == owner:
            return
        if caller.team is None or not await self._ledger.are_teammates(owner, caller.team):
            raise NotAllowed(Rejection.NOT_YOUR_PROJECT, f"{what} belongs to somebody else")

    async def listed(self, caller: Caller, wanted: ProjectFilter) -> tuple[Sequence[ProjectView], int]:
        """The caller's own projects, whatever `wanted.owner` says, and how many there are in all."""
        return await self._store.projects(replace(wanted, owner=caller.owner))

    async def update(self, request: Request, text: str, changes: Mapping[str, str | None]) -> ProjectView:
        """Change what is given. Raises: Missing, Refused (`project_exists`, `not_your_project`), Unavailable."""
        project_id = parse_project(text)
        caller = request.caller
        body = UpdateProject(project_id=project_id, owner=caller.owner, is_admin=caller.is_admin, **changes)
        fingerprint = request.fingerprint(text, dict(changes))
        command_id = self._asking.command_id(request)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=fingerprint)
        return await self.get(text, caller)

    async def upload(self, request: Request, text: str, files: Mapping[str, bytes], *, replace: bool) -> ProjectView:
        """Store files, then add them.

        Raises:
            Missing, NotAllowed, Unavailable.
            Invalid: a path is the folder of another.
            Refused: `project_full`, `storage_full`.
            TooMany: `storage_full`, before anything was stored.
        """
        project = await self.get(text, request.caller)
        if project.owner != request.caller.owner and not request.caller.is_admin:  # a team reads; it brings nothing
            raise NotAllowed(Rejection.NOT_YOUR_PROJECT, f"project {project.shown} belongs to somebody else")
        check_tree(list(files) if replace else [*project.files, *files])
        refs = {path: FileRef(digest=digest(data), size_bytes=len(data)) for path, data in files.items()}
        command_id = self._asking.command_id(request)
        sizes = {ref.digest: ref.size_bytes for ref in refs.values()}
        await self._storage.check(project.owner, sizes, command_id)
        for data in files.values():
            await self._blobs.put(data)
        caller = request.caller
        body = UploadFiles(
            project_id=project.project_id, owner=caller.owner, is_admin=caller.is_admin, files=refs, replace=replace
        )
        digests = sorted((path, ref.digest) for path, ref in refs.items())
        fingerprint = request.fingerprint(text, digests, replace)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=fingerprint)
        self._storage.accepted(project.owner, sizes)
        return project

    async def delete(self, request: Request, text: str) -> None:
        """Forget a project. Raises: Missing, Refused (`project_not_found`, `not_your_project`), Unavailable."""
        caller = request.caller
        body = DeleteProject(project_id=parse_project(text), owner=caller.owner, is_admin=caller.is_admin)
        command_id = self._asking.command_id(request)
        await self._asking.ask(body, request, command_id=command_id, fingerprint=request.fingerprint(text))

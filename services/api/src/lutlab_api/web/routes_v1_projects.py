"""Projects of verification under /api/v1, as the contract has them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response, status

from lutlab_api.app.verification_ports import ProjectFilter, VerificationFilter
from lutlab_api.domain.errors import Code
from lutlab_api.domain.verification import parse_project
from lutlab_api.web.asked import Api, Reading, Submitting
from lutlab_api.web.documented import ASK, READ, errors_contract
from lutlab_api.web.models_verification import (
    NewProject,
    NewVerification,
    Project,
    ProjectChanges,
    ProjectFiles,
    Projects,
    ProjectsQuery,
    Trend,
    TrendQuery,
    UploadDone,
    Verification,
    VerificationAccepted,
    Verifications,
    VerificationsQuery,
)
from lutlab_api.web.project_uploads import FILES_BODY, read_files
from lutlab_events.rejections import Rejection
from lutlab_events.verification import ProjectStatus
from lutlab_verify.config.schema import MEDIA_TYPE, ROUTE, schema

PROJECT = (Code.VALIDATION_ERROR, Rejection.PROJECT_NOT_FOUND, Rejection.NOT_YOUR_PROJECT)
"""What every route with a project's id can answer."""
UPLOAD = (
    Code.MISSING_FILE,
    Code.MALFORMED_BODY,
    Code.FILE_TOO_LARGE,
    Code.BODY_TOO_LARGE,
    Rejection.PROJECT_FULL,
    Rejection.STORAGE_FULL,
)
SUBMIT = (
    Code.TOOL_ERROR,
    Rejection.QUEUE_FULL,
    Rejection.OWNER_LIMIT,
    Rejection.STORAGE_FULL,
    Code.ARTIFACT_NOT_FOUND,
)
ProjectId = Annotated[str, Path(description="the project's id, as creating it answered")]

router = APIRouter(prefix="/api/v1/projects", tags=["projects"])


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Create a project",
    responses=errors_contract(
        *ASK, Code.VALIDATION_ERROR, Code.MALFORMED_BODY, Rejection.PROJECT_EXISTS, Rejection.TOO_MANY_PROJECTS
    ),
)
async def create(new: NewProject, api: Api, asked: Submitting) -> Project:
    """Make a project; its name is unique among yours."""
    made = await api.projects.create(
        asked, name=new.name, top=new.top_module, pdk=new.target_pdk, description=new.description
    )
    return Project.of(made)


@router.get("", summary="List projects", responses=errors_contract(*READ, Code.VALIDATION_ERROR))
async def list_projects(api: Api, caller: Reading, query: Annotated[ProjectsQuery, Query()]) -> Projects:
    """Your projects."""
    wanted = ProjectFilter(
        owner=caller.owner,
        limit=query.per_page,
        offset=query.offset,
        status=None if query.status is None else ProjectStatus(query.status),
        name=query.name,
        sort=query.sort,
    )
    found, total = await api.projects.listed(caller, wanted)
    return Projects(
        projects=[Project.of(view) for view in found], total=total, page=query.page, per_page=query.per_page
    )


@router.get("/{project_id}", summary="Get a project", responses=errors_contract(*READ, *PROJECT))
async def get(project_id: ProjectId, api: Api, caller: Reading) -> Project:
    """A project."""
    return Project.of(await api.projects.get(project_id, caller))


@router.put(
    "/{project_id}",
    summary="Update a project",
    responses=errors_contract(*ASK, *PROJECT, Code.MALFORMED_BODY, Rejection.PROJECT_EXISTS),
)
async def update(project_id: ProjectId, changes: ProjectChanges, api: Api, asked: Submitting) -> Project:
    """Change what is given; the rest stays."""
    return Project.of(await api.projects.update(asked, project_id, changes.model_dump()))


@router.delete(
    "/{project_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Delete a project",
    responses=errors_contract(*ASK, *PROJECT),
)
async def delete(project_id: ProjectId, api: Api, asked: Submitting) -> Response:
    """Forget a project and cancel its open jobs. Its name is free again; what its jobs found stays under their ids."""
    await api.projects.delete(asked, project_id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post(
    "/{project_id}/upload",
    summary="Upload design files",
    openapi_extra=FILES_BODY,
    responses=errors_contract(*ASK, *PROJECT, *UPLOAD),
)
async def upload(
    project_id: ProjectId,
    request: Request,
    api: Api,
    asked: Submitting,
    replace: Annotated[bool, Query(description="in place of all files there are, not beside them")] = False,
) -> UploadDone:
    """Add files, or replace those of the same path. Archives are unpacked."""
    project = await api.projects.get(project_id, asked.caller)
    files = await read_files(request, api.settings.project_upload_bytes_max)
    await api.projects.upload(asked, project_id, files, replace=replace)
    return UploadDone(uploaded=len(files), project_id=project.shown, files=list(files))


@router.get("/{project_id}/files", summary="List a project's files", responses=errors_contract(*READ, *PROJECT))
async def files_of(project_id: ProjectId, api: Api, caller: Reading) -> ProjectFiles:
    """A project's files, with sizes and digests."""
    return ProjectFiles.of(await api.projects.get(project_id, caller))


@router.post(
    "/{project_id}/jobs",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Submit a verification job",
    responses=errors_contract(*ASK, *PROJECT, *SUBMIT, Code.MALFORMED_BODY),
)
async def submit(project_id: ProjectId, new: NewVerification, api: Api, asked: Submitting) -> VerificationAccepted:
    """Check the configuration, then run stages over the project's files as they are now."""
    submitted = await api.verifications.submit(asked, project_id, new.stages, new.config_overrides, new.seed)
    return VerificationAccepted.of(submitted)


@router.get("/{project_id}/jobs", summary="List a project's jobs", responses=errors_contract(*READ, *PROJECT))
async def jobs_of(
    project_id: ProjectId, api: Api, caller: Reading, query: Annotated[VerificationsQuery, Query()]
) -> Verifications:
    """A project's jobs, newest first."""
    wanted = VerificationFilter(
        project_id=parse_project(project_id), limit=query.per_page, offset=query.offset, status=query.status
    )
    found, total = await api.verifications.listed(project_id, caller, wanted)
    live = api.verifications.live
    return Verifications(
        jobs=[Verification.of(job, live.progress(job.job_id)) for job in found],
        total=total,
        page=query.page,
        per_page=query.per_page,
    )


@router.get("/{project_id}/trend", summary="A project's trend", responses=errors_contract(*READ, *PROJECT))
async def trend_of(project_id: ProjectId, api: Api, caller: Reading, query: Annotated[TrendQuery, Query()]) -> Trend:
    """The figures of a project's newest jobs, oldest first: findings, tests, properties, coverage, seconds."""
    return Trend(project_id=project_id, points=await api.reports.trend(project_id, caller, query.limit))


schemas = APIRouter(tags=["projects"])


@schemas.get(ROUTE, summary="The JSON Schema of lutlab.yaml", response_class=Response, include_in_schema=False)
async def config_schema() -> Response:
    """The JSON Schema of a project's configuration, for editors; needs no key."""
    return Response(msgspec.json.encode(schema()), media_type=MEDIA_TYPE)

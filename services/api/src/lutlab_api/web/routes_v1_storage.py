"""How much an owner has stored, under /api/v1."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from lutlab_api.domain.errors import Code
from lutlab_api.web.asked import Api, Reading
from lutlab_api.web.documented import READ, errors_v1
from lutlab_api.web.models import OWNER, Model
from lutlab_api.web.paging import Strict

router = APIRouter(prefix="/api/v1", tags=["v1 keys"])


class StorageQuery(Strict):
    """Whose storage to look at."""

    owner: str | None = Field(
        None, pattern=OWNER, description="whose; left out: your own; that of others only for their team and for admins"
    )


class Storage(Model):
    """What an owner has stored: designs, bitstreams, files of projects, what jobs left."""

    owner: str
    used_bytes: int = Field(description="each content once, however many jobs and projects have it")
    limit_bytes: int = Field(description="what would be more is refused with `storage_full`")
    left_bytes: int
    blobs: int = Field(description="how many different contents")


@router.get(
    "/storage", summary="What you have stored", responses=errors_v1(*READ, Code.VALIDATION_ERROR, Code.ADMIN_ONLY)
)
async def storage(api: Api, caller: Reading, query: Annotated[StorageQuery, Query()]) -> Storage:
    """How many bytes are stored for an owner, and how many may be."""
    owner = query.owner or caller.owner
    await api.reads.check_owner(caller, owner)
    used, limit = await api.storage.of(owner), api.storage.bytes_max
    return Storage(
        owner=owner,
        used_bytes=used.used_bytes,
        limit_bytes=limit,
        left_bytes=max(0, limit - used.used_bytes),
        blobs=used.blobs,
    )

"""`Location` on every 201 and 202: where what was made, or what goes on, can be looked at."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request, Response

from lutlab_api.web.errors import V1, is_v1

MADE = frozenset({"201", "202"})
DOCUMENTED: dict[str, Any] = {
    "Location": {"description": "where to look at it", "schema": {"type": "string", "format": "uri-reference"}}
}


class Location:
    """Tells where, in the generation of the path that was asked, and below the path a proxy mounts the lab at."""

    def __init__(self, request: Request, response: Response) -> None:
        self._path = str(request.scope["path"])
        self._below = str(request.scope.get("root_path", "")).rstrip("/")
        self._response = response

    def is_at(self, path: str) -> None:
        """It is at this path."""
        self._response.headers["Location"] = f"{self._below}{path}"

    def is_job(self, job_id: UUID, fpga_id: int | None = None) -> None:
        """It is this job; in the older generation, where a board was named, the job of that board."""
        if is_v1(self._path):
            self.is_at(f"{V1}/jobs/{job_id}")
        else:
            self.is_at(f"/jobs/{job_id}" if fpga_id is None else f"/fpga/{fpga_id}/jobs/{job_id}")


async def _location(request: Request, response: Response) -> Location:
    return Location(request, response)


Located = Annotated[Location, Depends(_location)]

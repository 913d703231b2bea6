"""Reading a project's files out of a multipart body."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from lutlab_api.domain.errors import Code, Invalid
from lutlab_api.domain.project_files import FILES_MAX, Uploaded, is_archive
from lutlab_api.web.uploads import is_form

PART_NAMES = ("files[]", "files", "file")
FIELDS_MAX = 16

FILES_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files[]"],
                    "properties": {
                        "files[]": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "files by their path within the project; a .zip, .tar, .tar.gz or .tgz is "
                            "unpacked",
                        }
                    },
                }
            }
        },
    }
}


async def read_files(request: Request, bytes_max: int) -> dict[str, bytes]:
    """The files of a request by path, archives unpacked.

    Raises:
        Invalid: there are none, a path leads out of the project, or they are too many or too large.
        HTTPException: 413 for a body that is too large.
    """
    if not is_form(request):
        raise _none("the request is not multipart/form-data")
    try:
        form = await request.form(max_files=FILES_MAX, max_fields=FIELDS_MAX)
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise Invalid(Code.MALFORMED_BODY, f"the multipart body cannot be read: {error.detail}") from error
    try:
        uploaded = Uploaded(bytes_max)
        for name, value in form.multi_items():
            if name not in PART_NAMES or not isinstance(value, UploadFile):
                raise Invalid(
                    Code.VALIDATION_ERROR,
                    f"part {name[:64]!r} is not known here, or has no file name; send files as `files[]`",
                    details={"field": name[:64], "suggestion": PART_NAMES[0]},
                )
            data, path = await value.read(), value.filename or ""
            if is_archive(path):
                await asyncio.to_thread(uploaded.unpack, path, data)
            else:
                uploaded.add(path, data)
    finally:
        await form.close()
    if not uploaded.files:
        raise _none("there is no file in it")
    return uploaded.files


def _none(why: str) -> Invalid:
    message = f"send files as multipart parts `files[]` ({why}), e.g. curl -F 'files[]=@top.v'"
    return Invalid(Code.MISSING_FILE, message, details={"field": PART_NAMES[0]})

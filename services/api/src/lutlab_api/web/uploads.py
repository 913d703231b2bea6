"""Reading a multipart upload: after the key was checked, within limits, with the contract's error codes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from lutlab_api.domain.errors import Code, Invalid
from lutlab_api.domain.upload import (
    Upload,
    check_file,
    check_labels,
    check_priority,
    check_profile,
    check_sys_clk,
    check_timing_target,
    check_top,
)

FILES_MAX = 1
FIELDS_MAX = 16
FIELD_BYTES_MAX = 4096

UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "`design.py` (Amaranth), `design.v` (Verilog) or `project.zip` with an "
                            "`mrg-project.json`; the suffix selects the language",
                        },
                        "top": {
                            "type": "string",
                            "description": "class or module to build, where several have the Wishbone ports",
                        },
                        "sys_clk_freq": {
                            "type": "number",
                            "minimum": 10e6,
                            "maximum": 200e6,
                            "description": "the design's clock in Hz; left out: the board's own clock",
                        },
                        "timing_target_mhz": {
                            "type": "number",
                            "exclusiveMinimum": 0,
                            "description": "what timing is graded against in MHz; left out: the clock itself",
                        },
                        "profile": {
                            "type": "string",
                            "description": "device profile to build for; left out: the board's, or the lab's default",
                        },
                        "labels": {
                            "type": "string",
                            "description": "labels the board must have, separated by commas",
                        },
                        "priority": {
                            "type": "integer",
                            "minimum": -10,
                            "maximum": 10,
                            "description": "higher gets a board first; above 0 only for admins",
                        },
                    },
                },
            }
        },
    }
}


def is_form(request: Request) -> bool:
    """Whether a request says that its body is multipart; names of media types have no case."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


def check_fields(form: FormData, known: Sequence[str]) -> None:
    """Refuse parts that nobody reads. Raises: Invalid, with the nearest known name as a hint."""
    for name in form:
        if name in known:
            continue
        near = difflib.get_close_matches(name[:64], known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        details = {"field": name[:64]} | ({"suggestion": near[0]} if near else {})
        raise Invalid(
            Code.VALIDATION_ERROR,
            f"part {name[:64]!r} is not known here{hint}; known are: {', '.join(known)}",
            details=details,
        )


async def read_upload(
    request: Request, bytes_max: int, known: Sequence[str] | None = None, *, is_admin: bool = False
) -> Upload:
    """The upload in a request; if `known` is given, other parts are refused.

    `is_admin` says whether its sender may give it a high priority.

    Raises:
        Invalid: what is missing or wrong.
        HTTPException: 400 for a broken body, 413 for one that is too large.
    """
    if not is_form(request):
        raise _missing_file("the request is not multipart/form-data")
    try:
        form = await request.form(max_files=FILES_MAX, max_fields=FIELDS_MAX, max_part_size=FIELD_BYTES_MAX)
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise Invalid(Code.MALFORMED_BODY, f"the multipart body cannot be read: {error.detail}") from error
    try:
        if known is not None:
            check_fields(form, known)
        return await _upload(form, bytes_max, is_admin)
    finally:
        await form.close()


async def _upload(form: FormData, bytes_max: int, is_admin: bool) -> Upload:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise _missing_file("there is no file in it" if file is None else "its part `file` has no file name")
    top = check_top(_text(form, "top"))
    sys_clk_hz = check_sys_clk(_text(form, "sys_clk_freq"))
    timing_target_mhz = check_timing_target(_text(form, "timing_target_mhz"))
    profile = check_profile(_text(form, "profile"))
    labels = check_labels(_text(form, "labels"))
    priority = check_priority(_text(form, "priority"), is_admin=is_admin)
    data = await file.read()
    return Upload(
        filename=check_file(file.filename or "", data, bytes_max),
        data=data,
        top=top,
        sys_clk_hz=sys_clk_hz,
        timing_target_mhz=timing_target_mhz,
        profile=profile,
        labels=labels,
        priority=priority,
    )


def _text(form: FormData, name: str) -> str | None:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else None


def _missing_file(why: str) -> Invalid:
    return Invalid(Code.MISSING_FILE, f"send the design as multipart part `file` ({why}), e.g. curl -F file=@design.py")

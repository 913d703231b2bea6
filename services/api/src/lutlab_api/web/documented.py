"""Error responses for the OpenAPI document, made from codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lutlab_api.domain.errors import Code
from lutlab_api.web.errors import body_of, contract_body_of, is_v1, v1_body_of
from lutlab_api.web.models import ErrorBody, ErrorV1
from lutlab_api.web.status import MEANINGS, contract_of, status_of
from lutlab_events.rejections import Rejection

Responses = dict[int | str, dict[str, Any]]

ANY = (Code.TOO_MANY_ATTEMPTS, Code.RATE_LIMITED, Code.OVERLOADED, Code.SCHEDULER_UNAVAILABLE, Code.INTERNAL_ERROR)
"""What every route can answer."""
READ = (*ANY, Code.MISSING_API_KEY, Code.INVALID_API_KEY, Code.API_KEY_EXPIRED, Code.SCOPE_MISSING)
"""What every reading route can answer."""
ASK = (*READ, Code.INVALID_IDEMPOTENCY_KEY, Rejection.IDEMPOTENCY_MISMATCH, Rejection.UNDECIDABLE)
"""What every route that sends a command can answer."""
BOARD = (Code.VALIDATION_ERROR, Rejection.FPGA_NOT_FOUND)
"""What every route with a board's number can answer."""
JOB = (Rejection.JOB_NOT_FOUND, Rejection.NOT_YOUR_JOB)
"""What every route with a job's id can answer."""


def errors(*codes: str) -> Responses:
    """The `responses` of a route that answers these codes: one entry a status, one example a code."""
    return _responses(codes, ErrorBody, lambda code: body_of(code, MEANINGS[code].example))


def errors_v1(*codes: str) -> Responses:
    """The same for a route under /api/v1."""
    return _responses(codes, ErrorV1, lambda code: v1_body_of(code, MEANINGS[code].example, {}))


def errors_contract(*codes: str) -> Responses:
    """The same for a route of the verification contract."""
    return _responses(
        codes,
        ErrorV1,
        lambda code: contract_body_of(code, MEANINGS[code].example, {}),
        lambda code: contract_of(code)[0],
    )


def _responses(
    codes: Sequence[str],
    model: type,
    body: Callable[[str], dict[str, Any]],
    status_for: Callable[[str], int] = status_of,
) -> Responses:
    responses: Responses = {}
    for code in codes:
        status = int(status_for(code))
        entry = responses.setdefault(status, {"model": model, "description": "", "content": {}})
        media = entry["content"].setdefault("application/json", {"examples": {}})
        media["examples"][str(code)] = {"value": body(code)}
    for entry in responses.values():
        names = entry["content"]["application/json"]["examples"]
        entry["description"] = " or ".join(f"`{name}`" for name in names)
    return responses


def unreadable(path: str) -> dict[str, Any]:
    """What every route of this path answers to a JSON body that is not even text."""
    code = Code.MALFORMED_BODY
    example = MEANINGS[code].example
    body = v1_body_of(code, example, {}) if is_v1(path) else body_of(code, example)
    schema = {"$ref": f"#/components/schemas/{(ErrorV1 if is_v1(path) else ErrorBody).__name__}"}
    media = {"schema": schema, "examples": {str(code): {"value": body}}}
    return {"description": f"`{code}`", "content": {"application/json": media}}

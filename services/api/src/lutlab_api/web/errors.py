"""Every error in the contract's form: `{"detail": {"error": code, "message": ..., "job_id": ...}}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from lutlab_api.domain.errors import RETRY_AFTER_S, ApiError, Code
from lutlab_api.web.status import status_of
from lutlab_events.rejections import Rejection

log = structlog.get_logger(__name__)

RETRYABLE = frozenset(
    {
        Code.SCHEDULER_UNAVAILABLE,
        Code.BOARD_UNREACHABLE,
        Rejection.QUEUE_FULL,
        Rejection.OWNER_LIMIT,
        Code.REQUEST_IN_PROGRESS,
    }
)
INPUT_CHARS_MAX = 80
PROBLEMS_MAX = 5
_PLACES = frozenset({"body", "path", "query", "header", "cookie"})
_STATUS_CODES = {400: Code.MALFORMED_BODY, 404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED, 413: Code.BODY_TOO_LARGE}


def body_of(code: str, message: str, job_id: object = None) -> dict[str, Any]:
    """The body of an error."""
    detail = {"error": str(code), "message": message}
    if job_id is not None:
        detail["job_id"] = str(job_id)
    return {"detail": detail}


def response_of(error: ApiError) -> JSONResponse:
    """The response to an error."""
    headers: dict[str, str] = {}
    if error.code in RETRYABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if error.code in {Code.MISSING_API_KEY, Code.INVALID_API_KEY}:
        headers["WWW-Authenticate"] = "Bearer"
    body = body_of(error.code, error.message, error.job_id)
    return JSONResponse(body, status_code=int(status_of(error.code)), headers=headers)


def install(app: FastAPI) -> None:
    """Register the handlers that give every error this form."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(StarletteHTTPException, _on_http_exception)


async def _on_api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return response_of(error)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        message = f"the body is not JSON: {problems[0].get('ctx', {}).get('error', 'it cannot be parsed')}"
        return response_of(ApiError(Code.VALIDATION_ERROR, message))
    return response_of(ApiError(Code.VALIDATION_ERROR, describe(problems)))


def describe(problems: Sequence[Mapping[str, Any]]) -> str:
    """Field, value and rule of each problem pydantic found, at most `PROBLEMS_MAX` of them."""
    sentences = []
    for problem in problems[:PROBLEMS_MAX]:
        field = ".".join(str(part) for part in problem["loc"] if part not in _PLACES) or "the body"
        rule = str(problem["msg"])
        rule = rule[:1].lower() + rule[1:]
        if problem["type"] == "missing":
            sentences.append(f"{field} is missing")
        elif isinstance(problem.get("input"), bytes):
            sentences.append(f"{field} is not taken for JSON: send `Content-Type: application/json`")
        else:
            sentences.append(f"{field} {repr(problem.get('input'))[:INPUT_CHARS_MAX]}: {rule}")
    if len(problems) > PROBLEMS_MAX:
        sentences.append(f"and {len(problems) - PROBLEMS_MAX} more")
    return "; ".join(sentences) + " (see /docs for what this request takes)"


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    detail: Any = error.detail
    if isinstance(detail, dict):  # raised by this package, already in the right form
        return JSONResponse({"detail": detail}, status_code=error.status_code, headers=error.headers)
    code = _STATUS_CODES.get(error.status_code, Code.INTERNAL_ERROR)
    what = f"{request.method} {request.url.path}"
    messages = {
        Code.NOT_FOUND: f"there is no {what}; see /docs for what there is",
        Code.METHOD_NOT_ALLOWED: f"{what} is not possible; see /docs for what is",
    }
    body = body_of(code, messages.get(code, str(error.detail)))
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)

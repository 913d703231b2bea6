"""Every error in the contract's form: `{"detail": {"error": code, "message": ..., "job_id": ...}}`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from lutlab_api.domain.errors import RETRY_AFTER_S, ApiError, Code
from lutlab_api.web.models import OWNER, PRINTABLE, TEXT
from lutlab_api.web.models_run import BATCH_FORM, ONE_FORM
from lutlab_api.web.models_verification import NAME, PDK, TOP
from lutlab_api.web.paging import fields_of
from lutlab_api.web.paths import Paths
from lutlab_api.web.status import contract_of, status_of
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
V1 = "/api/v1"
CONTRACT = re.compile(
    r"/api/v1/((projects|webhooks)(/|$)|jobs/job_|jobs/[^/]+/(cancel|logs|results|reports|compare)(/|$))"
)
INPUT_CHARS_MAX = 80
PATH_CHARS_MAX = 200
PROBLEMS_MAX = 5
SIMILARITY_MIN = 0.6
SOCKETS = {"Upgrade": "websocket", "Connection": "Upgrade"}
UNREADABLE = "send JSON as UTF-8, nested less than 1,000 deep, its numbers shorter than 4,300 digits"
"""What JSON can be wrong with beside its grammar."""
WORDS = {
    OWNER: "use letters, digits and `_ . @ -`, at most 64, the first a letter or digit",
    TEXT: "leave the NUL character out",
    PRINTABLE: "use characters that can be printed",
    NAME: "use letters, digits and hyphens, at most 64, the first no hyphen",
    TOP: "use the name of a module: letters, digits, `_` and `$`, the first a letter or `_`",
    PDK: "use letters, digits and `_ . -`, at most 64, the first a letter or digit",
}
"""What patterns of fields mean to a person."""
_PLACES = frozenset({"body", "path", "query", "header", "cookie", ONE_FORM, BATCH_FORM})
"""Parts of a problem's place that are no names of fields."""
_STATUS_CODES = {400: Code.MALFORMED_BODY, 413: Code.BODY_TOO_LARGE}


def body_of(code: str, message: str, job_id: object = None) -> dict[str, Any]:
    """The body of an error."""
    detail = {"error": str(code), "message": message}
    if job_id is not None:
        detail["job_id"] = str(job_id)
    return {"detail": detail}


def v1_body_of(code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an error under /api/v1."""
    return {"error": {"code": str(code), "message": message, "details": dict(details)}}


def is_v1(path: str) -> bool:
    """Whether errors of this path have the form of /api/v1."""
    return path == V1 or path.startswith(f"{V1}/")


def is_contract(path: str) -> bool:
    """Whether a path is of the verification contract, which has codes of its own.

    The path of the scope, please: that of `request.url` lacks tabs and line ends.
    """
    return CONTRACT.match(path) is not None


def contract_body_of(code: str, message: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an error under the verification contract."""
    return v1_body_of(contract_of(code)[1], message, {**details, "reason": str(code)})


def response_of(error: ApiError, path: str) -> JSONResponse:
    """The response to an error on this path."""
    headers: dict[str, str] = {}
    status = int(contract_of(error.code)[0] if is_contract(path) else status_of(error.code))
    if error.retry_after_s is not None or error.code in RETRYABLE or status in (429, 503):
        headers["Retry-After"] = str(error.retry_after_s or RETRY_AFTER_S)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if is_contract(path):
        body = contract_body_of(error.code, error.message, error.details)
    elif is_v1(path):
        about = {} if error.job_id is None else {"job_id": str(error.job_id)}
        body = v1_body_of(error.code, error.message, about | error.details)
    else:
        body = body_of(error.code, error.message, error.job_id)
    return JSONResponse(body, status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Register the handlers that give every error this form."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(StarletteHTTPException, _on_http_exception)


async def _on_api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return response_of(error, request.scope["path"])


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        message = f"the body is not JSON: {problems[0].get('ctx', {}).get('error', 'it cannot be parsed')}"
        return response_of(ApiError(Code.VALIDATION_ERROR, message), request.scope["path"])
    fields = _known_fields(request)
    hints = [hint(problem, fields) for problem in problems[:PROBLEMS_MAX]]
    details = next((each for each in hints if "suggestion" in each), hints[0])  # the one that helps most
    error = ApiError(Code.VALIDATION_ERROR, describe(problems, fields), details=details)
    return response_of(error, request.scope["path"])


def _known_fields(request: Request) -> list[str]:
    """The fields that this very request may have, in its query and in its body."""
    dependant = getattr(request.scope.get("route"), "dependant", None)
    if dependant is None:
        return []
    parts = (*dependant.query_params, *dependant.body_params)
    return sorted(set().union(*(fields_of(part.field_info.annotation) for part in parts)))


def describe(problems: Sequence[Mapping[str, Any]], fields: Sequence[str] = ()) -> str:
    """Field, value and rule of each problem pydantic found, at most `PROBLEMS_MAX` of them."""
    sentences = []
    for problem in problems[:PROBLEMS_MAX]:
        field = _field(problem) or "the body"
        rule = str(problem["msg"])
        rule = rule[:1].lower() + rule[1:]
        near = hint(problem, fields).get("suggestion")
        if problem["type"] == "extra_forbidden":
            sentences.append(f"{field} is not known here" + (f"; did you mean {near}?" if near else ""))
        elif problem["type"] == "missing":
            sentences.append(f"{field} is missing")
        elif isinstance(problem.get("input"), bytes):
            sentences.append(f"{field} is not taken for JSON: send `Content-Type: application/json`")
        else:
            rule = WORDS.get(str(problem.get("ctx", {}).get("pattern")), rule)
            sentences.append(f"{field} {repr(problem.get('input'))[:INPUT_CHARS_MAX]}: {rule}")
    if len(problems) > PROBLEMS_MAX:
        sentences.append(f"and {len(problems) - PROBLEMS_MAX} more")
    return "; ".join(sentences) + " (see /docs for what this request takes)"


def _field(problem: Mapping[str, Any]) -> str:
    """Where a problem is; a name that was sent may be of any length."""
    return ".".join(str(part)[:INPUT_CHARS_MAX] for part in problem["loc"] if part not in _PLACES)


def hint(problem: Mapping[str, Any], fields: Sequence[str] = ()) -> dict[str, Any]:
    """The field a problem is about, and the nearest valid value or name, where one is near.

    Args:
        fields: the names that are known.
    """
    field = _field(problem)
    details: dict[str, Any] = {"field": field} if field else {}
    expected = str(problem.get("ctx", {}).get("expected", ""))
    choices = re.findall(r"'([^']+)'", expected)
    given = problem.get("input")
    if problem["type"] == "extra_forbidden":
        given = problem["loc"][-1]
        choices = [name for name in fields if name != given]
    # What is longer than any name is near none, and comparing it would take its time.
    if choices and (near := difflib.get_close_matches(str(given)[:INPUT_CHARS_MAX], choices, 1, SIMILARITY_MIN)):
        details["suggestion"] = near[0]
    return details


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    path: str = request.scope["path"]
    detail: Any = error.detail
    if isinstance(detail, dict):  # raised by this package, already in the older form
        return _answer(path, error.status_code, detail["error"], detail["message"], error.headers)
    what = f"{request.method} {request.url.path[:PATH_CHARS_MAX]}"
    paths: Paths = request.app.state.paths
    if error.status_code == HTTPStatus.NOT_FOUND:
        if paths.is_websocket(path):
            message = f"{what} is a WebSocket: ask for an upgrade to it"
            return _answer(path, HTTPStatus.UPGRADE_REQUIRED, Code.UPGRADE_REQUIRED, message, SOCKETS)
        return unknown(what, path)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(paths.methods(path))
        message = f"{what} is not possible, but {allowed}; see /docs for what is"
        return _answer(path, error.status_code, Code.METHOD_NOT_ALLOWED, message, {"Allow": allowed})
    code = _STATUS_CODES.get(error.status_code, Code.INTERNAL_ERROR)
    message = f"the body of {what} cannot be read: {UNREADABLE}" if code is Code.MALFORMED_BODY else str(detail)
    return _answer(path, error.status_code, code, message, error.headers)


def unknown(what: str, path: str) -> JSONResponse:
    """The answer for a path that nothing is served at; under /api/v1 with the verification contract's code."""
    message = f"there is no {what}; see /docs for what there is"
    if is_v1(path):
        return JSONResponse(contract_body_of(Code.NOT_FOUND, message, {}), status_code=HTTPStatus.NOT_FOUND)
    return _answer(path, HTTPStatus.NOT_FOUND, Code.NOT_FOUND, message, None)


def _answer(path: str, status: int, code: str, message: str, headers: Mapping[str, str] | None) -> JSONResponse:
    if is_contract(path):
        body = contract_body_of(code, message, {})
    else:
        body = v1_body_of(code, message, {}) if is_v1(path) else body_of(code, message)
    return JSONResponse(body, status_code=status, headers=headers)

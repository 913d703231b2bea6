"""A job's report in every format."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from lutlab_verify.config.nearest import nearest
from lutlab_verify.report.compare import Comparison
from lutlab_verify.report.junit import junit
from lutlab_verify.report.record import JobRecord, to_json
from lutlab_verify.report.sarif import sarif
from lutlab_verify.report.templates import TemplateFailed, built_in, is_built_in, uploaded
from lutlab_verify.report.view import view
from lutlab_verify.stage import Stage


class Format(StrEnum):
    """The formats of `POST /jobs/{id}/reports`."""

    HTML = "html"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"
    MARKDOWN = "markdown"


MEDIA_TYPES = {
    Format.HTML: "text/html; charset=utf-8",
    Format.JSON: "application/json",
    Format.SARIF: "application/sarif+json",
    Format.JUNIT: "application/xml",
    Format.MARKDOWN: "text/markdown; charset=utf-8",
}
SUFFIXES = {
    Format.HTML: "html",
    Format.JSON: "json",
    Format.SARIF: "sarif",
    Format.JUNIT: "xml",
    Format.MARKDOWN: "md",
}
DEFAULT_TEMPLATE = "default"
TEMPLATED = frozenset({Format.HTML, Format.MARKDOWN})


@dataclass(frozen=True)
class Rendered:
    """A report: its bytes, their type, and a name to save it by."""

    body: bytes
    media_type: str
    filename: str


class ReportError(Exception):
    """A report cannot be made as asked.

    Attributes:
        field: of the request: `format`, `include` or `template`.
    """

    code = "VALIDATION_ERROR"

    def __init__(self, message: str, *, field: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.suggestion = suggestion


def render(
    job: JobRecord,
    format: str,  # noqa: A002 - the contract's name
    include: Collection[str] | None = None,
    template: str | None = None,
    *,
    files: Mapping[str, bytes] | None = None,
    comparison: Comparison | None = None,
) -> Rendered:
    """A report. Uploaded templates run in a process of their own, so that this may take seconds: use a thread.

    Args:
        job: what to report.
        format: one of `Format`.
        include: stages that are in it; None for all of the job's.
        template: for html and markdown, a built-in template's name or an uploaded file's; None for the default one.
        files: uploaded files, in which `template` is looked for.
        comparison: with an earlier job, shown where the format has room for it.

    Raises:
        ReportError: an unknown format, stage or template, or a template that fails.
    """
    kind = _format(format)
    _check_stages(include)
    shown = job.only(include)
    body = _BODIES[kind](shown, comparison) if kind in _BODIES else None
    if body is None:
        body = _templated(shown, kind, template, files or {}, comparison)
    elif template not in (None, DEFAULT_TEMPLATE):
        listed = " and ".join(sorted(TEMPLATED))
        raise ReportError(f"{kind.value} has one form and no templates; {listed} have", field="template")
    return Rendered(body, MEDIA_TYPES[kind], f"{job.project}-{job.job_id}.{SUFFIXES[kind]}")


def _json(job: JobRecord, comparison: Comparison | None) -> bytes:
    found = to_json(job) | {"totals": view(job)["totals"]}
    if comparison is not None:
        found["comparison"] = comparison.to_json()
    return json.dumps(found, indent=1, sort_keys=True, default=str).encode()


_BODIES: dict[Format, Callable[[JobRecord, Comparison | None], bytes]] = {
    Format.JSON: _json,
    Format.SARIF: lambda job, _: sarif(job),
    Format.JUNIT: lambda job, _: junit(job),
}


def _templated(
    job: JobRecord, kind: Format, template: str | None, files: Mapping[str, bytes], comparison: Comparison | None
) -> bytes:
    shown = view(job) | {"comparison": comparison.to_json() if comparison else None}
    name = template or DEFAULT_TEMPLATE
    suffix = SUFFIXES[kind]
    if is_built_in(name, suffix):
        return built_in(name, suffix, shown)
    if name not in files:
        message = f"no built-in template {name!r} for {kind.value}, and no uploaded file of that name"
        raise ReportError(message, field="template", suggestion=DEFAULT_TEMPLATE)
    try:
        return uploaded(files[name], shown, escape=kind is Format.HTML)
    except TemplateFailed as error:
        raise ReportError(f"template {name!r}: {error}", field="template") from error


def _format(name: str) -> Format:
    try:
        return Format(name)
    except ValueError:
        known = [one.value for one in Format]
        near = nearest(name, known)
        message = f"format {name!r} is not one of {', '.join(known)}"
        raise ReportError(message, field="format", suggestion=near) from None


def _check_stages(include: Collection[str] | None) -> None:
    known = [stage.value for stage in Stage]
    for name in include or ():
        if name not in known:
            message = f"stage {name!r} is not one of {', '.join(known)}"
            raise ReportError(message, field="include", suggestion=nearest(name, known))

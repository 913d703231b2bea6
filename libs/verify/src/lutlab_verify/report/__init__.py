"""Reports of a job in every format, and what changed between jobs."""

from lutlab_verify.report.compare import Change, Comparison, compare, trend
from lutlab_verify.report.record import ArtifactRecord, BadRecord, JobRecord, StageRecord, from_json, to_json
from lutlab_verify.report.render import Format, Rendered, ReportError, render
from lutlab_verify.report.view import totals, view

__all__ = [
    "ArtifactRecord",
    "BadRecord",
    "Change",
    "Comparison",
    "Format",
    "JobRecord",
    "Rendered",
    "ReportError",
    "StageRecord",
    "compare",
    "from_json",
    "render",
    "to_json",
    "totals",
    "trend",
    "view",
]

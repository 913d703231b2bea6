"""Reports of a job in every format, and what changed between jobs."""

from lutlab_verify.report.record import ArtifactRecord, BadRecord, JobRecord, StageRecord, from_json, to_json

__all__ = [
    "ArtifactRecord",
    "BadRecord",
    "JobRecord",
    "StageRecord",
    "from_json",
    "to_json",
]

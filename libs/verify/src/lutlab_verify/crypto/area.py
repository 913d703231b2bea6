"""An area of the crypto stage and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lutlab_verify.stage import Artifact, Json, StageStatus

AREAS = ("constant_time", "side_channel", "ntt_validation", "fips_compliance", "entropy_analysis")
"""In the order of the contract."""


@dataclass(frozen=True)
class AreaResult:
    """What an area found.

    Attributes:
        status: the stage fails if one of its areas does.
        summary: the area's object in the results, without `status`.
        details: everything.
        artifacts: files it leaves.
    """

    status: StageStatus
    summary: Json
    details: Json = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()

    @classmethod
    def skipped(cls, reason: str) -> AreaResult:
        """Not looked at."""
        return cls(StageStatus.SKIPPED, {"reason": reason})

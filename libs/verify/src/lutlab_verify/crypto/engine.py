"""The crypto stage: every area of the contract, in its order."""

from __future__ import annotations

import asyncio

from lutlab_verify.config.model import CryptoSection
from lutlab_verify.crypto import constant_time
from lutlab_verify.crypto.area import AREAS, AreaResult
from lutlab_verify.stage import Artifact, Json, Level, StageContext, StageResult, StageStatus

RESULT = """
summary: one object per area: `constant_time`, `side_channel`, `ntt_validation`, `fips_compliance`,
`entropy_analysis`, each with `status` (passed, failed, skipped) and `reason` where there is one; `constant_time`
with `verdict` (proven, violated, bounded_only, unknown), `violations` and `depth`.
details: one object per area; that of constant_time is described in `lutlab_verify.crypto.constant_time`.
The stage fails if an area fails, passes if one passes, and is skipped if all are.
"""


async def run(context: StageContext) -> StageResult:
    """Carry out the stage. Raises: Unsupported, ToolFailed, ToolMissing."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    areas = _not_looked_at(context.project.config.verification.crypto_verification)
    if context.project.config.verification.crypto_verification.constant_time.enabled:
        areas["constant_time"] = await constant_time.run(context)
    for done, name in enumerate(AREAS):
        area = areas[name]
        level = Level.ERROR if area.status is StageStatus.FAILED else Level.INFO
        reason = area.summary.get("reason")
        context.sink.log(f"{name}: {area.status}{f': {reason}' if reason else ''}", level)
        context.sink.progress(done + 1, len(AREAS), "areas")
    summary: Json = {name: {"status": areas[name].status.value, **areas[name].summary} for name in AREAS}
    details: Json = {name: areas[name].details for name in AREAS if areas[name].details}
    artifacts: tuple[Artifact, ...] = tuple(one for name in AREAS for one in areas[name].artifacts)
    status, stage_reason = _status(areas)
    return StageResult(status, summary, details, artifacts, stage_reason, loop.time() - started)


def _status(areas: dict[str, AreaResult]) -> tuple[StageStatus, str | None]:
    failed = [name for name in AREAS if areas[name].status is StageStatus.FAILED]
    if failed:
        return StageStatus.FAILED, "; ".join(
            f"{name}: {areas[name].summary.get('reason', 'failed')}" for name in failed
        )
    if any(area.status is StageStatus.PASSED for area in areas.values()):
        return StageStatus.PASSED, None
    return StageStatus.SKIPPED, "no area was looked at: " + "; ".join(
        f"{name}: {areas[name].summary['reason']}" for name in AREAS
    )


def _not_looked_at(config: CryptoSection) -> dict[str, AreaResult]:
    """Why each area would be skipped."""
    entropy = bool(config.entropy_analysis.sources or config.entropy_analysis.sinks)
    asked = {
        "constant_time": False,
        "side_channel": config.side_channel.enabled,
        "ntt_validation": config.ntt_validation.enabled,
        "fips_compliance": config.fips_compliance.enabled,
        "entropy_analysis": entropy,
    }
    off = "no sources or sinks are configured" if not entropy else ""
    return {
        name: AreaResult.skipped(
            "this version has no engine for it; nothing was checked"
            if wanted
            else off
            if name == "entropy_analysis"
            else f"not enabled (verification.crypto_verification.{name}.enabled)"
        )
        for name, wanted in asked.items()
    }

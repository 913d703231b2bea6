"""A build report for a person."""

from __future__ import annotations

from lutlab.models import BuildReport

RESOURCES = (("logic", "LUT"), ("ff", "FF"), ("bram", "BRAM"), ("dsp", "DSP"))


def report_text(report: BuildReport) -> str:
    """Usage, timing and stage times, in a few aligned lines."""
    usage = [
        f"{title} {report.util[key].used}/{report.util[key].available}"
        for key, title in RESOURCES
        if key in report.util
    ]
    lines = [f"  usage    {'  '.join(usage)}", f"  timing   {timing_text(report)}"]
    if report.stages:
        lines.append(f"  stages   {'  '.join(f'{stage.name} {_seconds(stage.seconds)}' for stage in report.stages)}")
        lines.append(f"  together {_seconds(sum(stage.seconds for stage in report.stages))}")
    return "\n".join(lines)


def timing_text(report: BuildReport) -> str:
    """Highest clock against the target, and whether it is met."""
    if report.fmax_mhz is None:
        return "no timed path"
    verdict = {True: "met", False: "MISSED", None: "not graded"}[report.timing_met]
    target = "" if report.target_mhz is None else f", target {report.target_mhz:g} MHz: {verdict}"
    return f"Fmax {report.fmax_mhz:g} MHz{target}"


def _seconds(value: float) -> str:
    """A duration in few characters, so that four of them fit into a line of 80."""
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"

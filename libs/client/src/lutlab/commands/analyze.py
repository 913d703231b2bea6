"""`lutlab analyze`: how big a design is and how fast, from its synthesis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lutlab.client import Client
from lutlab.commands.common import AsJson, note, out, out_json, out_table, with_lab
from lutlab.commands.config import Folder, Overrides
from lutlab.commands.verify import Show, checked_folder, run_stages
from lutlab.text import or_dash
from lutlab.verification import VerificationJob

STEPS_SHOWN_MAX = 20


@with_lab
def analyze(
    lab: Client,
    *,
    folder: Folder = Path(),
    timing: Annotated[bool, typer.Option("--timing", help="Clocks, and the longest path.")] = False,
    power: Annotated[bool, typer.Option("--power", help="Power, where a builder can estimate it.")] = False,
    area: Annotated[bool, typer.Option("--area", help="What the design takes of the target.")] = False,
    target: Annotated[
        str | None, typer.Option("--target", help="What it is made for, e.g. lfe5u-25f. Default: the configuration's.")
    ] = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Tell a design's timing, power and area.

    Timing and area, unless told otherwise. Timing is that of a placed and routed design, for our boards only; for other
    targets the area is an estimate. No builder estimates power so far: a lab refuses to.
    """
    given = {"project.target_pdk": target} if target else {}
    if power:
        given["analysis.power.tool"] = "openroad"
    checked, overrides = checked_folder(folder, override, given)
    show = _showing(timing=timing or not (area or power), area=area or not (timing or power))
    run_stages(lab, folder, checked, overrides, stages=["synthesis"], as_json=as_json, show=show)


def _showing(*, timing: bool, area: bool) -> Show:
    """Prints the parts that were asked for."""

    def show(lab: Client, job: VerificationJob, as_json: bool) -> None:
        found = lab.verification.results(job.job_id, "synthesis")
        if as_json:
            out_json(found)
            return
        reason = job.progress["synthesis"].reason
        if reason is not None:
            note(f"synthesis {job.progress['synthesis'].status}: {reason}")
        details = found.get("details", {})
        if area:
            _show_area(found, details)
        if timing:
            _show_timing(details)

    return show


def _show_area(found: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    if "utilisation" in details:
        used = [(one["name"], one["used"], one["available"]) for one in details["utilisation"] if one["used"]]
        out_table(("area", "used", f"of {details['device']}"), used)
        return
    cells = [(one["name"], one["count"]) for one in details.get("cells", [])]
    out_table(("area", "cells"), cells)
    if details.get("estimate"):
        size = "" if found.get("area_um2") is None else f", {found['area_um2']} um2"
        out(f"{found['gate_equivalents']} gate equivalents{size}")
        note(details["note"])


def _show_timing(details: Mapping[str, Any]) -> None:
    if "clocks" not in details:
        note("no timing: only designs for our boards are placed and routed, see --target")
        return
    rows = [
        (one["name"], one["fmax_mhz"], one["target_mhz"], "yes" if one["met"] else "no") for one in details["clocks"]
    ]
    if rows:
        out_table(("clock", "fmax MHz", "aimed at", "met"), rows)
    else:
        out("nothing is clocked")
    path = details.get("critical_path")
    if path is None:
        return
    out(f"longest path: {path['delay_ns']} ns, clock {path['clock']}")
    steps = path["steps"][:STEPS_SHOWN_MAX]
    shown = [
        (step["at_ns"], step["kind"], or_dash(step["to"]), ", ".join(step.get("sources") or ()) or "-")
        for step in steps
    ]
    out_table(("at ns", "through", "to", "source"), shown)
    if len(steps) < len(path["steps"]):
        out(f"and {len(path['steps']) - len(steps)} more steps")

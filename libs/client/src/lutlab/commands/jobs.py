"""Jobs: submit designs, follow them, read their logs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from lutlab.client import Client
from lutlab.commands.common import AsJson, JobId, goes_on, note, out, out_json, out_table, with_lab
from lutlab.errors import JobFailed
from lutlab.models import JobDetail
from lutlab.report import report_text
from lutlab.text import clock_time, describe, or_dash, short_time
from lutlab.ui import screen
from lutlab.verification import PREFIX as VERIFICATION_PREFIX
from lutlab.verification import VerificationJob
from lutlab_transport.clock import SystemClock

FOLLOW_EVERY_S = 0.5
LOG_TAIL_LINES = 15
KINDS = {"build_and_program": "build"}
"""Types that are called shorter in a table."""


@with_lab
def submit(
    lab: Client,
    *,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="design.py (Amaranth), design.v or .sv (Verilog), project.zip, or a folder with a "
            "lutlab-project.json; of several files the first is the top.",
            exists=True,
        ),
    ],
    board: Annotated[int | None, typer.Option("--board", help="This board, which must be idle. Default: any.")] = None,
    top: Annotated[str | None, typer.Option("--top", help="Class or module, where several fit.")] = None,
    sys_clk_freq: Annotated[
        int | None, typer.Option("--sys-clk-freq", help="The design's clock in Hz. Default: the board's.")
    ] = None,
    timing_target_mhz: Annotated[
        float | None, typer.Option("--timing-target-mhz", help="Grade timing against this instead of the clock.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="A label the board must have; may be given again.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", help="Higher gets a board first; above 0 only for admins.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it runs on a board, and show the report.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of the id; with --wait the job as it ended.")
    ] = False,
) -> None:
    """Build a design and program a board with it. Prints the job's id."""
    job = lab.submit(
        files,
        fpga_id=board,
        top=top,
        sys_clk_freq=sys_clk_freq,
        timing_target_mhz=timing_target_mhz,
        labels=label or (),
        priority=priority,
    )
    if not as_json:
        out(job.job_id)
    elif not wait:
        out_json(job)
    if not wait:
        note(f"follow it with: lutlab job {job.job_id}")
        return
    ended = _waited(lab, job.job_id, files[0].name)
    if as_json:
        out_json(ended)
    elif ended.report is not None:
        note(report_text(ended.report))


def _waited(lab: Client, job_id: str, name: str) -> JobDetail:
    """The job once its design runs. Raises: JobFailed, with the end of its log told."""
    try:
        with goes_on(job_id), screen(sys.stderr) as live:
            job = lab.wait(job_id, on_change=lambda job: live.doing(f"{name}: {describe(job)}"))
            live.done(f"{name}: runs on board {job.fpga_id}, which is yours now")
    except JobFailed:
        log = lab.logs(job_id).splitlines()
        if log:
            note("\n".join(f"  | {line}" for line in log[-LOG_TAIL_LINES:]))
        raise
    return lab.job_detail(job_id)


@with_lab
def jobs(
    lab: Client,
    *,
    status: Annotated[str | None, typer.Option("--status", help="Only those: queued, running, complete, ...")] = None,
    as_json: AsJson = False,
) -> None:
    """List your jobs, newest first."""
    found = lab.jobs(status)
    if as_json:
        out_json(found)
        return
    now = SystemClock().now()
    rows = [
        (j.job_id, KINDS.get(j.type, j.type), or_dash(j.fpga_id), short_time(j.created_at, now), describe(j))
        for j in found
    ]
    out_table(("job", "type", "board", "created", "status"), rows)


@with_lab
def job(
    lab: Client,
    *,
    job_id: JobId,
    as_json: AsJson = False,
) -> None:
    """Show one job: its state, why it failed, what it yielded."""
    if job_id.startswith(VERIFICATION_PREFIX):
        _show_verification(lab.verification.job(job_id), as_json=as_json)
        return
    found = lab.job_detail(job_id)
    if as_json:
        out_json(found)
        return
    out(f"{found.job_id}  {found.type}  {describe(found)}")
    for label, value in (
        ("owner", found.owner),
        ("file", found.filename),
        ("board", found.fpga_id),
        ("created", clock_time(found.created_at)),
        ("updated", clock_time(found.updated_at)),
    ):
        if value is not None:
            out(f"  {label:8} {value}")
    if found.error is not None:
        out(f"  error    {found.error.code}: {found.error.message}")
    if found.report is not None:
        out(report_text(found.report))


def _show_verification(found: VerificationJob, *, as_json: bool) -> None:
    if as_json:
        out_json(found)
        return
    out(f"{found.job_id}  verification  {found.status}")
    moments = (("submitted", found.submitted_at), ("started", found.started_at), ("ended", found.completed_at))
    for label, value in (
        ("project", found.project_id),
        ("seed", found.seed),
        *((label, None if moment is None else clock_time(moment)) for label, moment in moments),
    ):
        if value is not None:
            out(f"  {label:9} {value}")
    if found.error is not None:
        out(f"  error     {found.error.get('code')}: {found.error.get('message')}")
    rows = [
        (stage, state.status, or_dash(state.duration or state.progress), state.reason or "")
        for stage, state in found.progress.items()
    ]
    out_table(("stage", "status", "time", "reason"), rows)


@with_lab
def logs(
    lab: Client,
    *,
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
) -> None:
    """Print a job's log."""
    if job_id.startswith(VERIFICATION_PREFIX):
        _verification_logs(lab, job_id, follow=follow)
        return
    shown = _print_new(lab.logs(job_id), "")
    while follow:
        ended = lab.job(job_id).ended  # before the log, so that the last lines are not missed
        shown = _print_new(lab.logs(job_id), shown)
        if ended:
            break
        time.sleep(FOLLOW_EVERY_S)


def _verification_logs(lab: Client, job_id: str, *, follow: bool) -> None:
    """Each line with its stage."""
    whole = follow or lab.verification.job(job_id).ended  # then following ends at once, and leaves no line out
    for line in lab.verification.follow(job_id) if whole else lab.verification.logs(job_id):
        out(f"{line.stage:10} {line.level:7} {line.message}")


def _print_new(text: str, shown: str) -> str:
    """Print what was not shown yet; a log that began anew (another attempt) is shown from its beginning."""
    sys.stdout.write(text.removeprefix(shown))
    sys.stdout.flush()
    return text


@with_lab
def cancel(lab: Client, *, job_id: JobId) -> None:
    """Call a job off that has not ended."""
    if job_id.startswith(VERIFICATION_PREFIX):
        lab.verification.cancel(job_id)
    else:
        lab.cancel(job_id)
    note(f"job {job_id} is cancelled")

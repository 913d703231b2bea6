"""`lutlab verify`: a folder of sources checked by a lab; and projects, reports, stages by themselves."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutlab.client import Client
from lutlab.commands.common import AsJson, goes_on, note, out, out_json, out_table, with_lab
from lutlab.commands.config import EXIT_WRONG, Folder, Overrides, complain
from lutlab.errors import LutlabError, Refused
from lutlab.text import or_dash, short_time
from lutlab.verification import UPLOAD_BYTES_MAX, Project, VerificationJob
from lutlab.verifying import show_results, watch
from lutlab_transport.clock import SystemClock
from lutlab_verify.stage import Stage

if TYPE_CHECKING:
    from lutlab_verify.project import Project as Checked

EXIT_FAILED = 1
STAGES = tuple(stage.value for stage in Stage)
NAMES = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+@=-]*")
"""Names of files and folders that a lab takes."""
SUFFIXES = {"html": "html", "json": "json", "sarif": "sarif", "junit": "xml", "markdown": "md"}

WAVES = ".lutlab/waves"
"""Below the project's folder; what is hidden is not uploaded."""
Show = Callable[[Client, VerificationJob, bool], None]


@dataclass(frozen=True)
class Saved:
    """What of a stage's artifacts is saved where: those whose names begin so."""

    stage: str
    folder: Path
    prefix: str = ""


Stages = Annotated[
    str | None,
    typer.Option("--stages", help=f"With commas: {','.join(STAGES)}. Default: what the configuration has."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of whatever is random. Default: a new one.", min=0)]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Submit, print the job's id, and do not wait.")]
NewestJob = Annotated[str | None, typer.Argument(metavar="JOB", help="The job's id. Default: the newest here.")]
Format = Annotated[str, typer.Option("--format", "-f", help=", ".join(SUFFIXES))]


@with_lab
def verify(
    lab: Client,
    *,
    folder: Folder = Path(),
    stages: Stages = None,
    only_sim: Annotated[bool, typer.Option("--sim", help="Simulate; such options add up.")] = False,
    only_formal: Annotated[bool, typer.Option("--formal", help="Prove.")] = False,
    only_crypto: Annotated[bool, typer.Option("--crypto", help="Check timing against secrets.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Lint, simulate, prove and check crypto.")] = False,
    override: Overrides = None,
    seed: Seed = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Check a folder with a lutlab.yaml. Uploads it, runs stages over it, shows what they found.

    Exit codes: 0 all stages passed (or were skipped); 1 one did not; 2 the configuration is wrong.
    """
    asked = {"simulation": only_sim, "formal": only_formal, "crypto": only_crypto}
    named = [stage.strip() for stage in stages.split(",")] if stages else []
    wanted = (
        list(STAGES[:4]) if everything else [*named, *(stage for stage in asked if asked[stage] and stage not in named)]
    )
    checked, overrides = checked_folder(folder, override)
    run_stages(lab, folder, checked, overrides, stages=wanted or None, seed=seed, detach=detach, as_json=as_json)


@with_lab
def lint(
    lab: Client,
    *,
    folder: Folder = Path(),
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Lint a folder. The same as `lutlab verify DIR --stages lint`."""
    checked, overrides = checked_folder(folder, override)
    run_stages(lab, folder, checked, overrides, stages=["lint"], as_json=as_json)


@with_lab
def sim(
    lab: Client,
    *,
    folder: Folder = Path(),
    tool: Annotated[str | None, typer.Option("--tool", help="verilator, icarus or ghdl.")] = None,
    coverage: Annotated[bool | None, typer.Option("--coverage/--no-coverage", help="Collect coverage.")] = None,
    timeout: Annotated[int | None, typer.Option("--timeout", help="Seconds a test bench may take.", min=1)] = None,
    waves: Annotated[
        bool | None,
        typer.Option(
            "--waves/--no-waves",
            help=f"Save the waveforms in DIR/{WAVES}; or record none, which is quicker. Default: they stay in the lab.",
        ),
    ] = None,
    seed: Seed = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Simulate a folder's test benches. The same as `lutlab verify DIR --stages simulation`."""
    options = {"tool": tool, "coverage": coverage, "timeout_seconds": timeout, "waves": waves}
    given = {f"verification.simulation.{name}": value for name, value in options.items() if value is not None}
    checked, overrides = checked_folder(folder, override, given)
    saved = Saved("simulation", folder / WAVES, "trace") if waves else None
    run_stages(lab, folder, checked, overrides, stages=["simulation"], seed=seed, as_json=as_json, saved=saved)


@with_lab
def formal(
    lab: Client,
    *,
    folder: Folder = Path(),
    depth: Annotated[int | None, typer.Option("--depth", help="Clock cycles that are looked into.", min=1)] = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Prove a folder's properties. The same as `lutlab verify DIR --stages formal`."""
    given = {} if depth is None else {"verification.formal.depth": depth}
    checked, overrides = checked_folder(folder, override, given)
    run_stages(lab, folder, checked, overrides, stages=["formal"], as_json=as_json)


@with_lab
def synth(
    lab: Client,
    *,
    folder: Folder = Path(),
    target: Annotated[
        str | None, typer.Option("--target", help="What it is made for, e.g. lfe5u-25f. Default: the configuration's.")
    ] = None,
    top: Annotated[str | None, typer.Option("--top", help="The top module. Default: the configuration's.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Save the netlist and the timing report there.")
    ] = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Tell a design's size and speed. The same as `lutlab verify DIR --stages synthesis`."""
    options = {"target_pdk": target, "top_module": top}
    given = {f"project.{name}": value for name, value in options.items() if value is not None}
    checked, overrides = checked_folder(folder, override, given)
    saved = None if output is None else Saved("synthesis", output)
    run_stages(lab, folder, checked, overrides, stages=["synthesis"], as_json=as_json, saved=saved)


@with_lab
def report(
    lab: Client,
    *,
    job_id: NewestJob = None,
    format: Format = "html",  # noqa: A002 - the option's name
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="PATH", help="A file, or a folder (`reports/`); `-` for standard output."),
    ] = None,
    include: Annotated[str | None, typer.Option("--include", help="Only these stages, with commas.")] = None,
    template: Annotated[str | None, typer.Option("--template", help="A built-in or an uploaded template.")] = None,
) -> None:
    """Save a verification job's report.

    Without JOB, that of the newest job of the project in this folder.
    """
    if format not in SUFFIXES:
        raise typer.BadParameter(f"{format!r} is not one of {', '.join(SUFFIXES)}", param_hint="--format")
    stages = [stage.strip() for stage in include.split(",")] if include else None
    job_id = job_id or _newest(lab)
    body = lab.verification.report(job_id, format, include=stages, template=template)
    if output == "-":
        sys.stdout.buffer.write(body)
        return
    path = Path(output or "")
    if path.is_dir() or (output or "").endswith("/"):
        path /= f"{job_id}.{SUFFIXES[format]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    note(f"wrote {path}")


def _newest(lab: Client) -> str:
    """The newest job of the project that this folder's configuration names. Raises: LutlabError."""
    name = checked_folder(Path(), None)[0].config.project.name
    found = lab.verification.find(name)
    job = None if found is None else next(lab.verification.jobs(found.id), None)
    if job is None:
        raise LutlabError(f"project {name!r} has no job in this lab; run `lutlab verify` first, or name a job")
    note(f"{name}: job {job.job_id}, {job.status}")
    return job.job_id


@with_lab
def compare(
    lab: Client,
    *,
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="A verification job.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="A later one.")],
    as_json: AsJson = False,
) -> None:
    """Show what got worse and better between verification jobs."""
    found = lab.verification.compare(before, after)
    if as_json:
        out_json(found)
        return
    rows = [(side, one["area"], changed(one)) for side in ("worse", "better", "other") for one in found[side]]
    if rows:
        out_table(("", "area", "change"), rows)
    else:
        out("nothing changed")


def changed(one: dict[str, Any]) -> str:
    """A change of a comparison in words."""
    before, after = one["before"], one["after"]
    if isinstance(before, list) and isinstance(after, list):
        numbers = ", ".join(map(str, before or after))
        return f"{one['what']}: lines {numbers} {'no longer run' if before else 'run now'}"
    words = [str(value).split("\n", 1)[0] for value in (before, after) if value is not None]
    note = "new: " if before is None else "gone: " if after is None else ""
    return f"{one['what']}: {note}{' -> '.join(words)}"


# -- projects --------------------------------------------------------------------------------------------------

project = typer.Typer(no_args_is_help=True, help="Verification projects.")
ProjectName = Annotated[str, typer.Argument(metavar="PROJECT", help="Its name, or its id (proj_...).")]


@project.callback()
def group() -> None:
    """Verification projects."""


@project.command(name="list")
@with_lab
def list_projects(lab: Client, *, as_json: AsJson = False) -> None:
    """List your projects, the one used last first."""
    found = list(lab.verification.projects())
    if as_json:
        out_json(found)
        return
    now = SystemClock().now()
    rows = [
        (p.name, p.top_module, p.target_pdk, p.files, short_time(p.updated_at or p.created_at, now), p.id)
        for p in found
    ]
    out_table(("project", "top", "for", "files", "updated", "id"), rows)


@project.command()
@with_lab
def show(
    lab: Client,
    *,
    name: ProjectName,
    as_json: AsJson = False,
) -> None:
    """Show a project and its jobs."""
    found = _project(lab, name)
    jobs = list(lab.verification.jobs(found.id))
    if as_json:
        out_json({"project": found, "jobs": jobs})
        return
    out(f"{found.name}  {found.id}  top {found.top_module}, for {found.target_pdk}, {found.files} files")
    if found.description:
        out(f"  {found.description}")
    now = SystemClock().now()
    rows = [
        (job.job_id, job.status, short_time(job.submitted_at, now) if job.submitted_at else "-", _states(job))
        for job in jobs
    ]
    out_table(("job", "status", "submitted", "stages"), rows)


@project.command()
@with_lab
def trend(
    lab: Client,
    *,
    name: ProjectName,
    as_json: AsJson = False,
) -> None:
    """Show the figures of a project's newest jobs, oldest first."""
    points = lab.verification.trend(_project(lab, name).id)
    if as_json:
        out_json(points)
        return
    names = ("errors", "warnings", "tests_passed", "tests_failed", "properties_proven", "properties_failed", "seconds")
    head = ("job", "status", *(name.replace("_", " ") for name in names), "line coverage")
    rows = [
        (p["job_id"], p["status"], *(or_dash(p.get(name)) for name in names), or_dash(p["coverage"].get("line")))
        for p in points
    ]
    out_table(head, rows)


@project.command()
@with_lab
def delete(lab: Client, *, name: ProjectName) -> None:
    """Forget a project and cancel its open jobs."""
    found = _project(lab, name)
    lab.verification.delete(found.id)
    note(f"project {found.name} is gone")


def _project(lab: Client, name: str) -> Project:
    found = lab.verification.project(name) if name.startswith("proj_") else lab.verification.find(name)
    if found is None:
        raise LutlabError(f"you have no project {name!r}; `lutlab project list` shows yours")
    return found


def _states(job: VerificationJob) -> str:
    return ", ".join(f"{stage} {state.status}" for stage, state in job.progress.items())


# -- one run ---------------------------------------------------------------------------------------------------


def checked_folder(
    folder: Path, texts: list[str] | None, given: dict[str, Any] | None = None
) -> tuple[Checked, dict[str, Any]]:
    """The project as its configuration says, checked before anything is sent."""
    from lutlab_verify.config import ConfigError, load, override_of  # noqa: PLC0415 - slow to load

    try:
        overrides: dict[str, Any] = dict(override_of(text) for text in texts or ()) | (given or {})
        return load(folder, overrides), overrides
    except ConfigError as error:
        complain(error, folder)
        raise typer.Exit(EXIT_WRONG) from None


def run_stages(
    lab: Client,
    folder: Path,
    checked: Checked,
    overrides: dict[str, Any],
    *,
    stages: list[str] | None = None,
    seed: int | None = None,
    detach: bool = False,
    as_json: bool = False,
    show: Show | None = None,
    saved: Saved | None = None,
) -> None:
    """Upload, submit, follow, show, and save what is wanted. Raises: typer.Exit with the code for how it went."""
    from lutlab_verify.config import stages_of  # noqa: PLC0415 - slow to load

    wanted = stages or [stage.value for stage in stages_of(checked.config)]
    unknown = [stage for stage in wanted if stage not in STAGES]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(STAGES)}", param_hint="--stages")
    found = _make(lab, checked)
    files = _files(folder)
    try:
        lab.verification.upload(found.id, files, replace=True)
        job = lab.verification.submit(found.id, wanted, overrides=overrides, seed=seed)
    except Refused as error:
        _explain(error)
        raise
    if detach:
        out(job.job_id)
        return
    note(f"{found.name}: {len(files)} files, {', '.join(wanted)}, job {job.job_id}")
    with goes_on(job.job_id), watch() as live:
        ended = lab.verification.wait(job.job_id, on_change=live.show)
    (show or _show)(lab, ended, as_json)
    if saved is not None:
        _save(lab, ended.job_id, saved)
    if ended.status != "passed":
        raise typer.Exit(EXIT_FAILED)


def _make(lab: Client, checked: Checked) -> Project:
    """The project of this name: made, or changed to what the configuration says."""
    section = checked.config.project
    found = lab.verification.find(section.name)
    if found is None:
        return lab.verification.create(section.name, section.top_module, section.target_pdk, section.description)
    wanted = {
        "top_module": section.top_module,
        "target_pdk": section.target_pdk,
        "description": section.description,
    }
    changes = {name: value for name, value in wanted.items() if getattr(found, name) != value}
    return lab.verification.update(found.id, **changes) if changes else found


def _files(folder: Path) -> dict[str, bytes]:
    """The folder's files by path. Raises: LutlabError for more than an upload may have."""
    from lutlab_verify.config import project_files  # noqa: PLC0415 - slow to load

    files: dict[str, bytes] = {}
    left_out = []
    size = 0
    for name in project_files(folder):
        if not all(NAMES.fullmatch(part) for part in name.split("/")):
            left_out.append(name)
            continue
        files[name] = (folder / name).read_bytes()
        size += len(files[name])
        if size > UPLOAD_BYTES_MAX:
            raise LutlabError(f"{folder} has more than {UPLOAD_BYTES_MAX >> 20} MB; a lab takes no more at once")
    if left_out:
        note(f"left out, because a lab does not take such names: {', '.join(map(repr, left_out[:5]))}")
    return files


def _explain(error: Refused) -> None:
    """What the lab said beside the sentence, where it helps."""
    if error.details.get("suggestion"):
        note(f"did you mean {error.details['suggestion']!r}?")


def _save(lab: Client, job_id: str, saved: Saved) -> None:
    saved.folder.mkdir(parents=True, exist_ok=True)
    for old in saved.folder.glob(f"{saved.prefix}*") if saved.prefix else ():
        old.unlink()  # of the run before, whose test benches may have had other names
    artifacts = [one for one in lab.verification.artifacts(job_id) if one.stage == saved.stage]
    wanted = [one.name for one in artifacts if one.name.startswith(saved.prefix)]
    for name in wanted:
        path = saved.folder / name.replace("/", "_")
        path.write_bytes(lab.verification.download(job_id, name, stage=saved.stage))
        note(f"wrote {path}")
    if not wanted:
        note(f"the {saved.stage} stage left nothing to save")


def _show(lab: Client, job: VerificationJob, as_json: bool) -> None:
    results = lab.verification.results(job.job_id)
    if as_json:
        out_json(results)
        return
    bad = [stage for stage, state in job.progress.items() if state.status in ("passed", "failed")]
    details = {stage: lab.verification.results(job.job_id, stage) for stage in bad}
    show_results(job, results, details, sys.stdout)
    if job.error is not None:
        note(f"{job.error.get('code')}: {job.error.get('message')}")
    note(f"the whole report: lutlab report {job.job_id} --format html --output report.html")

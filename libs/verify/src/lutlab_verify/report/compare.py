"""What became better and worse between two jobs, and how a project's jobs went over time. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any

from lutlab_verify.report.record import JobRecord, Json
from lutlab_verify.report.view import totals

CHANGES_MAX = 2_000
LINES_LISTED_MAX = 200
MOVED_LINES_MAX = 5_000
"""Lines of a file that is looked through for where its lines have moved to."""

TEST_RANK = {"failed": 0, "error": 0, "skipped": 1, "passed": 2}
VERDICT_RANK = {
    "failed": 0, "unreachable": 0, "not_covered": 1, "absent": 1, "inconclusive": 2,
    "assumed": 3, "covered": 3, "proven": 3,
}  # fmt: skip
STATUS_RANK = {"failed": 0, "error": 0, "cancelled": 0, "skipped": 1, "passed": 2}


@dataclass(frozen=True)
class Change:
    """One thing that differs.

    Attributes:
        area: `stages`, `findings`, `tests`, `properties`, `coverage`, `synthesis`.
        what: its name, or the finding's place and rule.
        before, after: as each job has it; None where it is not there.
    """

    area: str
    what: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Comparison:
    """Two jobs side by side.

    Attributes:
        better, worse: changes that are one or the other.
        other: changes that are neither: new and removed tests and properties that are well.
        before, after: totals of both.
    """

    before_job: str
    after_job: str
    before: Json
    after: Json
    better: tuple[Change, ...]
    worse: tuple[Change, ...]
    other: tuple[Change, ...]

    def to_json(self) -> Json:
        """JSON values; each list has at most `CHANGES_MAX` entries."""
        found = asdict(self)
        for name in ("better", "worse", "other"):
            found[f"{name}_total"] = len(found[name])
            found[name] = list(found[name][:CHANGES_MAX])
        return found


def compare(before: JobRecord, after: JobRecord) -> Comparison:
    """What got better and worse. Only stages that gave a verdict in both jobs are compared, stages' verdicts always."""
    sides: dict[int, list[Change]] = {1: [], -1: [], 0: []}
    changes = [
        *_ranked("stages", _statuses(before), _statuses(after), STATUS_RANK),
        *_of("lint", _findings, before, after),
        *_of("simulation", _tests, before, after),
        *_of("formal", _properties, before, after),
        *_of("simulation", _coverage, before, after),
        *_of("synthesis", _synthesis, before, after),
    ]
    for side, change in changes:
        sides[side].append(change)
    better, worse, other = (tuple(sides[side]) for side in (1, -1, 0))
    return Comparison(before.job_id, after.job_id, totals(before), totals(after), better, worse, other)


def _statuses(job: JobRecord) -> dict[str, str]:
    return {stage.stage: stage.status for stage in job.stages}


Sided = tuple[int, Change]
"""1 for better, -1 for worse, 0 for neither; and the change."""


def _of(
    stage: str, look: Callable[[JobRecord, JobRecord], Iterable[Sided]], before: JobRecord, after: JobRecord
) -> Iterable[Sided]:
    records = (before.stage(stage), after.stage(stage))
    if all(record is not None and record.status in ("passed", "failed") for record in records):
        return look(before, after)
    return ()


def _findings(before: JobRecord, after: JobRecord) -> Iterable[Sided]:
    """Findings by file, rule and message: their line moves when something above them is edited."""
    old, new = (_findings_by_key(job) for job in (before, after))
    for key in dict.fromkeys([*old, *new]):
        fewer, more = old.get(key, []), new.get(key, [])
        for finding in more[len(fewer) :]:
            yield -1, Change("findings", _place(finding), None, finding.get("message"))
        for finding in fewer[len(more) :]:
            yield 1, Change("findings", _place(finding), finding.get("message"), None)


def _findings_by_key(job: JobRecord) -> dict[Hashable, list[Json]]:
    found: dict[Hashable, list[Json]] = {}
    for finding in job.listed("findings"):
        if not finding.get("waived"):
            key = tuple(str(finding.get(name)) for name in ("file", "rule", "severity", "message"))
            found.setdefault(key, []).append(finding)
    return found


def _place(finding: Json) -> str:
    place = ":".join(str(finding[name]) for name in ("file", "line") if finding.get(name) is not None)
    return f"{place} {finding.get('rule')}".strip()


def _tests(before: JobRecord, after: JobRecord) -> Iterable[Sided]:
    return _ranked("tests", _named(before, "tests", "status"), _named(after, "tests", "status"), TEST_RANK)


def _properties(before: JobRecord, after: JobRecord) -> Iterable[Sided]:
    old, new = (_named(job, "properties", "verdict") for job in (before, after))
    return _ranked("properties", old, new, VERDICT_RANK)


def _named(job: JobRecord, name: str, field: str) -> dict[str, str]:
    """Names to verdicts; a name that is there more than once is numbered."""
    found: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for item in job.listed(name):
        own = str(item.get("name"))
        seen[own] += 1
        found[own if seen[own] == 1 else f"{own} ({seen[own]})"] = str(item.get(field))
    return found


def _ranked(area: str, old: dict[str, str], new: dict[str, str], ranks: dict[str, int]) -> Iterable[Sided]:
    """Changes of verdicts: better if the rank rises. A new failure is worse; a failure that was removed is neither."""
    best = max(ranks.values())
    for name in dict.fromkeys([*old, *new]):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        change = Change(area, name, was, now)
        if was is None or now is None:
            yield (-1 if was is None and ranks.get(now or "", best) == 0 else 0), change
        else:
            rise = ranks.get(now, 0) - ranks.get(was, 0)
            yield (rise > 0) - (rise < 0), change


def _coverage(before: JobRecord, after: JobRecord) -> Iterable[Sided]:
    """Percentages by kind, and lines by file, as the later job numbers them, that ran in one job only."""
    percent = totals(before)["coverage"]
    for kind, now in totals(after)["coverage"].items():
        then = percent.get(kind)
        if then is not None and now is not None and then != now:
            yield (1 if now > then else -1), Change("coverage", kind, then, now)
    old, new = (_covered_lines(job) for job in (before, after))
    for name in sorted(set(old) & set(new)):
        lines = _moved(before.sources.get(name), after.sources.get(name), set().union(*old[name].values()))
        was = {kind: {lines[no] for no in numbers if no in lines} for kind, numbers in old[name].items()}
        lost = sorted(was["ran"] & new[name]["idle"])
        won = sorted(was["idle"] & new[name]["ran"])
        if lost:
            yield -1, Change("coverage", name, lost[:LINES_LISTED_MAX], [])
        if won:
            yield 1, Change("coverage", name, [], won[:LINES_LISTED_MAX])


def _covered_lines(job: JobRecord) -> dict[str, dict[str, set[int]]]:
    files = job.coverage.get("files") or {}
    found: dict[str, dict[str, set[int]]] = {}
    for name, lines in files.items():
        own = found.setdefault(name, {"ran": set(), "idle": set()})
        for number, line in lines.items():
            if line.get("kind") in ("line", "branch"):
                own["ran" if line.get("hits") else "idle"].add(int(number))
    return found


def _moved(before: str | None, after: str | None, numbers: set[int]) -> dict[int, int]:
    """Where lines of one version of a file are in the other; each where it was if a text is not known, or too long."""
    if before is None or after is None or before == after or before.count("\n") > MOVED_LINES_MAX:
        return {number: number for number in numbers}
    blocks = SequenceMatcher(None, before.splitlines(), after.splitlines()).get_matching_blocks()
    return {block.a + at + 1: block.b + at + 1 for block in blocks for at in range(block.size)}


SMALLER_IS_BETTER = ("area_um2", "cells", "flip_flops")


def _synthesis(before: JobRecord, after: JobRecord) -> Iterable[Sided]:
    old, new = (stage.summary if (stage := job.stage("synthesis")) else {} for job in (before, after))
    for name in ("fmax_mhz", *SMALLER_IS_BETTER):
        was, now = old.get(name), new.get(name)
        if isinstance(was, int | float) and isinstance(now, int | float) and was != now:
            rise = 1 if now > was else -1
            yield (-rise if name in SMALLER_IS_BETTER else rise), Change("synthesis", name, was, now)


def trend(jobs: Sequence[JobRecord]) -> list[Json]:
    """A project's jobs as points of series, oldest first: `job_id`, `at`, `status` and the totals of each.

    A figure is None where the job had no such stage, so that a plot has a gap there and not a zero.
    """
    ordered = sorted(jobs, key=lambda job: (job.submitted_at or "", job.job_id))
    return [{"job_id": job.job_id, "at": job.submitted_at, "status": job.status, **totals(job)} for job in ordered]

"""What reports show, computed once from a record: totals, bars, heat.

Plain values, so that any template can use them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lutlab_verify.report.record import JobRecord, Json, StageRecord
from lutlab_verify.share import percent

KINDS = ("line", "branch", "toggle", "fsm")
STRIP_CELLS_MAX = 160
LINES_MAX = 20_000
"""Source lines a report shows in all; a page of more is slow to open."""
ROWS_MAX = 2_000
"""Rows of one table."""
LINE_CHARS_MAX = 400
SYMBOLS = {
    "passed": "✓", "proven": "✓", "covered": "✓",
    "failed": "✗", "error": "✗", "violated": "✗", "unreachable": "✗", "not_covered": "✗",
    "inconclusive": "?", "bounded": "?", "unknown": "?", "absent": "?", "warning": "!",
    "skipped": "–", "cancelled": "–", "queued": "·", "running": "…", "assumed": "·",
}  # fmt: skip
TONES = {
    "passed": "good", "proven": "good", "covered": "good",
    "failed": "bad", "error": "bad", "violated": "bad", "unreachable": "bad", "not_covered": "bad",
    "inconclusive": "doubt", "bounded": "doubt", "unknown": "doubt", "absent": "doubt", "warning": "doubt",
}  # fmt: skip


def view(job: JobRecord) -> Json:
    """Everything a template needs.

    Returns:
        `job` (names, times, tools), `totals`, `stages` (each with its status, times and figures), `timeline`,
        `findings`, `tests`, `properties`, `areas`, `coverage` (bars and files), `synthesis`, `resources`, `cut`: which
        tables were cut at `ROWS_MAX`.
    """
    lists = {name: job.listed(name) for name in ("findings", "tests", "properties")}
    crypto, synthesis = job.stage("crypto"), job.stage("synthesis")
    return {
        "job": _job(job),
        "totals": totals(job),
        "stages": [_stage(stage) for stage in job.stages],
        "timeline": _timeline(job),
        **{name: rows[:ROWS_MAX] for name, rows in lists.items()},
        "cut": {name: len(rows) for name, rows in lists.items() if len(rows) > ROWS_MAX},
        "areas": _areas(crypto) if crypto else [],
        "coverage": _coverage(job),
        "synthesis": synthesis.details | {"summary": synthesis.summary} if synthesis else None,
        "symbols": SYMBOLS,
        "tones": TONES,
    }


def totals(job: JobRecord) -> Json:
    """The figures that comparison, trend and every report share.

    Returns:
        `errors`, `warnings`, `waived`; `tests_passed`, `tests_failed`, `tests_skipped`; `properties_proven`,
        `properties_failed`, `properties_inconclusive`; `coverage` by kind in percent; `seconds`; `fmax_mhz`.
        What no stage looked at is None.
    """
    found: Json = {"seconds": round(sum(stage.seconds for stage in job.stages), 3)}
    found |= _counted(job, "lint", ("errors", "warnings", "waived"), _findings(job))
    tests = Counter(f"tests_{test.get('status')}" for test in job.listed("tests"))
    found |= _counted(job, "simulation", ("tests_passed", "tests_failed", "tests_skipped"), tests)
    verdicts = Counter(f"properties_{one.get('verdict')}" for one in job.listed("properties"))
    wanted = ("properties_proven", "properties_failed", "properties_inconclusive")
    found |= _counted(job, "formal", wanted, verdicts)
    found["coverage"] = {kind: _number(job.coverage.get(kind)) for kind in KINDS if kind in job.coverage}
    synthesis = job.stage("synthesis")
    found["fmax_mhz"] = _number(synthesis.summary.get("fmax_mhz")) if synthesis else None
    return found


def _findings(job: JobRecord) -> Counter[str]:
    counted: Counter[str] = Counter()
    for finding in job.listed("findings"):
        counted["waived" if finding.get("waived") else f"{finding.get('severity')}s"] += 1
    return counted


def _counted(job: JobRecord, stage: str, names: tuple[str, ...], listed: Mapping[str, int]) -> Json:
    """Counts of a stage: its own, which know of what a list had no room for; else the list's."""
    record = job.stage(stage)
    if record is None or record.status not in ("passed", "failed"):
        return dict.fromkeys(names)
    return {name: record.summary.get(name, listed.get(name, 0)) for name in names}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _job(job: JobRecord) -> Json:
    hidden = ("stages", "sources", "tools")
    facts = {field.name: getattr(job, field.name) for field in fields(job) if field.name not in hidden}
    return facts | {"tools": tools_of(job)}


def tools_of(job: JobRecord) -> dict[str, str]:
    """Versions by tool: the record's, and those that stages tell in their details."""
    told = [stage.details.get("tools") for stage in job.stages]
    stages = {str(name): str(version) for one in told if isinstance(one, dict) for name, version in one.items()}
    return {**stages, **job.tools}


def _stage(stage: StageRecord) -> Json:
    figures = [(name.replace("_", " "), value) for name, value in stage.summary.items() if _is_figure(value)]
    if stage.stage == "crypto":
        figures += Counter(area["status"] for area in _areas(stage)).items()
    return {
        "name": stage.stage,
        "status": stage.status,
        "reason": stage.reason,
        "seconds": stage.seconds,
        "figures": figures,
        "summary": stage.summary,
        "resources": stage.resources,
        "artifacts": [
            {"name": one.name, "media_type": one.media_type, "size_bytes": one.size_bytes} for one in stage.artifacts
        ],
    }


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _timeline(job: JobRecord) -> Json:
    """Bars of stages over the job's time, in percent of it; stages without a beginning follow one another."""
    bars, clock = [], 0.0
    for stage in job.stages:
        began = clock if stage.started_s is None else stage.started_s
        clock = max(clock, began + stage.seconds)
        bars.append((stage, began))
    whole = max(clock, 0.001)
    step = _tick_step(whole)
    ticks = [round(n * step, 6) for n in range(int(whole / step) + 1)]
    return {
        "seconds": whole,
        "ticks": [{"at": 100 * tick / whole, "label": f"{tick:g} s"} for tick in ticks],
        "bars": [
            {
                "name": stage.stage,
                "status": stage.status,
                "left": 100 * began / whole,
                "width": 100 * stage.seconds / whole,
                "seconds": stage.seconds,
                "cpu_s": _number(stage.resources.get("cpu_s")),
                "peak_rss_bytes": _number(stage.resources.get("peak_rss_bytes")),
            }
            for stage, began in bars
        ],
    }


def _tick_step(whole: float) -> float:
    """A round step that gives four to ten ticks."""
    power: float = 10.0 ** math.floor(math.log10(whole / 4))
    return next((power * factor for factor in (1, 2, 2.5, 5, 10) if whole / (power * factor) <= 8), power * 10)


def _areas(crypto: StageRecord) -> list[Json]:
    """The crypto stage's areas: name, verdict, figures and reason."""
    areas = []
    for name, area in crypto.summary.items():
        if isinstance(area, dict) and "status" in area:
            figures = [
                (key.replace("_", " "), value)
                for key, value in area.items()
                if key not in ("status", "reason") and _is_figure(value)
            ]
            areas.append({"name": name, "status": area["status"], "reason": area.get("reason"), "figures": figures})
    return areas


# -- coverage ----------------------------------------------------------------------------------------


def _coverage(job: JobRecord) -> Json | None:
    """Bars by kind, and files with their share, heat strip and source lines."""
    coverage = job.coverage
    if not coverage:
        return None
    bars = [{"kind": kind, "percent": _number(coverage[kind])} for kind in KINDS if kind in coverage]
    files, left = [], LINES_MAX
    for name, lines in _files(coverage).items():
        rows = _rows(lines, job.sources.get(name), left)
        left -= len(rows)
        hit, count = _share(lines)
        share = percent(hit, count)
        files.append({"name": name, "hit": hit, "lines": count, "percent": share, "strip": _strip(rows), "rows": rows})
    files.sort(key=lambda file: (file["percent"] is None, file["percent"] or 0.0, file["name"]))
    return {"bars": bars, "files": files, "cut": left <= 0}


def _files(coverage: Json) -> dict[str, dict[int, Json]]:
    """Per file its covered lines by number; what is no such thing is passed over."""
    files = coverage.get("files")
    if not isinstance(files, dict):
        return {}
    return {
        name: {int(no): line for no, line in lines.items() if str(no).isdecimal() and isinstance(line, dict)}
        for name, lines in files.items()
        if isinstance(lines, dict)
    }


def _share(lines: Mapping[int, Json]) -> tuple[int, int]:
    """How many lines with statements ran, and how many there are."""
    counted = [line for line in lines.values() if line.get("kind") in ("line", "branch")]
    return sum(bool(line.get("hits")) for line in counted), len(counted)


def _rows(lines: Mapping[int, Json], source: str | None, most: int) -> list[Json]:
    """Lines to show: all of a source that is known, else only those with coverage."""
    texts = source.splitlines() if source is not None else []
    numbers = range(1, max([len(texts), *lines]) + 1) if texts else sorted(lines)
    return [
        {
            "no": no,
            "text": texts[no - 1][:LINE_CHARS_MAX] if 0 < no <= len(texts) else "",
            "hits": lines[no].get("hits") if no in lines else None,
            "heat": _heat(lines.get(no)),
            "note": _note(lines.get(no)),
        }
        for no in list(numbers)[:most]
    ]


def _heat(line: Json | None) -> str:
    """A line's colour: `h0` never, `h1` to `h4` by powers of ten, `part` if some of it never, `` if nothing counts."""
    if line is None:
        return ""
    hits = line.get("hits") or 0
    if not hits:
        return "h0"
    for part in ("branches", "toggles"):
        counts = line.get(part)
        if isinstance(counts, dict) and counts.get("hit", 0) < counts.get("total", 0):
            return "part"
    states = line.get("states")
    if isinstance(states, dict) and not all(states.values()):
        return "part"
    if line.get("kind") == "toggle":
        return "h1"
    return f"h{min(4, 1 + int(math.log10(hits)))}"


def _note(line: Json | None) -> str:
    """What a tooltip says of a line."""
    if line is None:
        return ""
    parts = [f"{line.get('hits') or 0} times"] if line.get("kind") in ("line", "branch", "fsm") else []
    for name in ("branches", "toggles"):
        counts = line.get(name)
        if isinstance(counts, dict):
            parts.append(f"{name}: {counts.get('hit')} of {counts.get('total')}")
    states = line.get("states")
    if isinstance(states, dict):
        parts += [f"{state}: {count} times" for state, count in states.items()]
    return "; ".join(parts)


def _strip(rows: list[Json]) -> list[str]:
    """A file's heat in a few cells; a cell shows the worst of its lines."""
    order = {"h0": 0, "part": 1, "h1": 2, "h2": 3, "h3": 4, "h4": 5, "": 6}
    per = max(1, math.ceil(len(rows) / STRIP_CELLS_MAX))
    cells = [rows[at : at + per] for at in range(0, len(rows), per)]
    return [min((row["heat"] for row in cell), key=order.__getitem__) for cell in cells]

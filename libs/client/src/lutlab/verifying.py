"""A verification job on a terminal: stages as they run, and what they found."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lutlab.text import table
from lutlab.ui import live_console
from lutlab.verification import StageState, VerificationJob

REFRESH_PER_S = 8
HEAD = ("stage", "verdict", "time", "what it found")
ROWS_MAX = 40
MESSAGE_LINES_MAX = 2
"""Lines of a failed test's message; the report has the rest."""
SYMBOLS = {"passed": "✓", "failed": "✗", "error": "✗", "skipped": "–", "cancelled": "–", "queued": "·", "running": "…"}
STYLES = {"passed": "green", "failed": "red", "error": "red", "running": "cyan"}
BAD = ("failed", "error", "violated", "inconclusive", "unreachable", "not_covered")


class Watch(Protocol):
    """Shows a job while it runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, job: VerificationJob) -> None:
        """What it does now."""
        ...


class PlainWatch:
    """A line for each stage that changes; for pipes and logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, job: VerificationJob) -> None:
        """See `Watch`."""
        for stage, state in job.progress.items():
            if state.status != "queued" and self._shown.get(stage) != state.status:
                self._shown[stage] = state.status
                self._stream.write(f"{stage}: {_words(state)}\n")
                self._stream.flush()


class LiveWatch:
    """A table that moves."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=REFRESH_PER_S, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, job: VerificationJob) -> None:
        """See `Watch`."""
        rows = Table.grid(padding=(0, 2))
        for stage, state in job.progress.items():
            style = STYLES.get(state.status, "dim")
            moving = state.status == "running"
            sign = Spinner("dots", style=style) if moving else Text(SYMBOLS.get(state.status, "·"), style=style)
            rows.add_row(sign, stage, Text(_words(state), style="" if moving else "dim"))
        self._live.update(rows, refresh=True)


def _words(state: StageState) -> str:
    parts = [state.status, state.progress or "", state.duration or "", (state.reason or "").partition("\n")[0]]
    return "  ".join(part for part in parts if part)


def watch(stream: TextIO | None = None) -> Watch:
    """A watch on this stream (standard error): live if it is a terminal."""
    stream = stream or sys.stderr
    console = live_console(stream)
    return PlainWatch(stream) if console is None else LiveWatch(console)


def show_results(
    job: VerificationJob, results: Mapping[str, Any], details: Mapping[str, Mapping[str, Any]], stream: TextIO
) -> None:
    """A table of the stages, then everything that is not well, at most `ROWS_MAX` rows a stage.

    Args:
        results: of `GET /results`.
        details: by stage, of `GET /results/{stage}`.
    """
    console = Console(file=stream, highlight=False)
    rows = [
        (stage, state.status, state.duration or "-", "; ".join(_figures(results.get("stages", {}).get(stage, {}))))
        for stage, state in job.progress.items()
    ]
    if stream.isatty():
        console.print(_stage_table(rows))
    else:  # a line each, however long: something else reads them
        plain = [(stage, _verdict(status), time, "; ".join(found.split("\n"))) for stage, status, time, found in rows]
        stream.write(table(HEAD, plain) + "\n")
    for stage, told in details.items():
        wrong = [row for row in _rows(stage, told.get("details", told)) if row is not None]
        for row in wrong[:ROWS_MAX]:
            console.print(Text("  ").append_text(row), soft_wrap=True)
        if len(wrong) > ROWS_MAX:
            console.print(f"  ... and {len(wrong) - ROWS_MAX} more: lutlab report {job.job_id}")


def _verdict(status: str) -> str:
    return f"{SYMBOLS.get(status, '·')} {status}"


def _stage_table(rows: Sequence[tuple[str, str, str, str]]) -> Table:
    """Stages for a terminal: folded to its width, verdicts in colour."""
    stages = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in HEAD:
        stages.add_column(title, overflow="fold")
    for stage, status, time, found in rows:
        stages.add_row(stage, Text(_verdict(status), style=STYLES.get(status, "")), time, Text(found))
    return stages


ALWAYS = ("errors", "warnings", "tests_passed", "tests_failed", "properties_proven", "properties_failed", "seed")
"""Figures that are worth reading when they are 0."""


def _figures(found: Mapping[str, Any]) -> list[str]:
    """A stage's summary in words; zeros only where they say something."""
    words, skipped = [], []
    for name, value in found.items():
        label = name.replace("_", " ")
        if name == "error" and isinstance(value, Mapping):
            words.append(f"{value.get('code')}: {value.get('message')}")
        elif name == "coverage" and isinstance(value, Mapping):
            words += [f"{kind} {share} %" for kind, share in value.items() if isinstance(share, int | float)]
        elif isinstance(value, Mapping) and value.get("status") == "skipped":
            skipped.append(label)
        elif isinstance(value, Mapping) and "status" in value:
            words.append(f"{label} {value['status']}" + (f" ({value['reason']})" if value.get("reason") else ""))
        elif name == "reason":
            words.append(str(value))
        elif isinstance(value, int | float | str) and not isinstance(value, bool) and name != "status":
            words += [f"{label} {value}"] if value or name in ALWAYS else []
    return [*words, f"skipped: {', '.join(skipped)}"] if skipped else words


def _rows(stage: str, details: Mapping[str, Any]) -> list[Text]:
    """What is not well in a stage, a line each."""
    rows = []
    for finding in details.get("findings", []) if stage == "lint" else []:
        if not finding.get("waived"):
            style = "red" if finding.get("severity") == "error" else "yellow"
            said = f"{finding.get('message')} [{finding.get('rule')}]"
            rows.append(_row(finding, str(finding.get("severity")), said, style))
    for test in details.get("tests", []):
        if test.get("status") in BAD:
            message = str(test.get("message") or "no message").strip().split("\n")
            said = f"{test.get('name')}: {'; '.join(message[:MESSAGE_LINES_MAX])} (seed {test.get('seed')})"
            rows.append(_row(test, "failed", said, "red"))
    for one in details.get("properties", []):
        if one.get("verdict") in BAD:
            style = "red" if one["verdict"] == "failed" else "yellow"
            said = f"{one.get('name')} {one.get('message') or ''}".strip()
            rows.append(_row(one, str(one["verdict"]), said, style))
    return rows


def _row(place: Mapping[str, Any], verdict: str, said: str, style: str) -> Text:
    where = ":".join(str(place[name]) for name in ("file", "line", "column") if place.get(name) is not None)
    return Text(f"{where}: " if where else "").append(verdict, style=style).append(f": {said}")

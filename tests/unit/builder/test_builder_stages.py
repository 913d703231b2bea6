"""Carrying out stages of verification: what an engine's ways to end become, and what the builder takes from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from lutlab_builder.adapters.stage_files import DigestStore, FolderCaches
from lutlab_builder.adapters.workdirs import TemporaryWorkdirs
from lutlab_builder.app.do_work import DELIVERIES_MAX, Later, SourceMissing
from lutlab_builder.app.run_stage import StageService, Verification
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_events.ids import digest
from lutlab_events.verification import StageOutcome
from lutlab_events.work import StageWork
from lutlab_verify.config import load
from lutlab_verify.stage import (
    Artifact,
    Level,
    StageContext,
    StageResult,
    StageStatus,
    ToolFailed,
    Unsupported,
)
from lutlab_verify.tools import ToolCall, ToolMissing, ToolOutcome, Tools

CONFIG = b"project: {name: a, top_module: a, target_pdk: sky130}\ndesign: {sources: ['rtl/*.v']}\n"
Run = Callable[[StageContext], Awaitable[StageResult]]


class NoTools:
    """A `Tools` that has none."""

    async def run(self, call: ToolCall, on_line: Callable[[str], None] | None = None) -> ToolOutcome:
        raise ToolMissing(f"{call.argv[0]} is not installed here")


class Rig:
    """The service with its ports in memory."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.blobs: dict[str, bytes] = {}
        self.started: list[int] = []
        self.outcomes: list[StageOutcome] = []
        self.lines: list[tuple[str, str]] = []
        self.told: list[tuple[int, int, str]] = []
        self.wanted = True
        self.sandbox_fails = False
        self.service = StageService(
            verification=Verification(load=load, engine=lambda _stage: run),
            room=self,
            blobs=self,
            reports=self,
            outlet=lambda _work, _delivery: Outlet(self),
            live=self,
            workdirs=TemporaryWorkdirs(folder / "work"),
            files=DigestStore(folder / "files", 1 << 20),
            caches=FolderCaches(folder / "caches", 1 << 20),
        )
        self.folder = folder

    @asynccontextmanager
    async def tools(self, work: Path, sources: Path) -> AsyncIterator[Tools]:
        if self.sandbox_fails:
            raise BuildFailure(Code.SANDBOX_UNAVAILABLE, "no namespaces")
        yield NoTools()

    async def get(self, name: str) -> bytes:
        if name not in self.blobs:
            raise SourceMissing(f"the source {name} cannot be fetched")
        return self.blobs[name]

    async def put(self, data: bytes) -> None:
        self.blobs[digest(data)] = data

    async def stage_started(self, work: StageWork, delivery: int) -> bool:
        self.started.append(delivery)
        return self.wanted

    async def stage_completed(self, work: StageWork, outcome: StageOutcome) -> None:
        self.outcomes.append(outcome)

    async def progress(self, work: StageWork, done: int, total: int, unit: str) -> None:
        self.told.append((done, total, unit))

    async def handle(
        self, files: Mapping[str, bytes] | None = None, delivery: int = 1, limit_s: float = 10, **overrides: Any
    ) -> Later | None:
        files = {"lutlab.yaml": CONFIG, "rtl/a.v": b"module a; endmodule\n"} if files is None else files
        for data in files.values():
            await self.put(data)
        manifest = {path: {"digest": digest(data), "size_bytes": len(data)} for path, data in files.items()}
        await self.put(json.dumps(manifest).encode())
        work = StageWork(
            job_id=UUID(int=1),
            project_id=UUID(int=2),
            stage="lint",
            number=0,
            attempt=1,
            correlation_id=UUID(int=3),
            files_digest=digest(json.dumps(manifest).encode()),
            seed=7,
            limit_s=limit_s,
            config_overrides=overrides,
        )
        outcome = await self.service.handle(work, delivery)
        assert not list((self.folder / "work").iterdir()), "a work folder was left"
        return outcome


class Outlet:
    """Where lines go."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    async def lines(self, stage: Level, lines: Sequence[str]) -> None:
        self._rig.lines += [(str(stage), line) for line in lines]

    async def stage(self, stage: Level) -> None:
        """Not for verification."""


async def test_a_stage_sees_its_project_and_leaves_results(tmp_path: Path) -> None:
    async def run(context: StageContext) -> StageResult:
        assert context.project.sources == ("rtl/a.v",)
        assert (context.project.root / "rtl/a.v").read_bytes() == b"module a; endmodule\n"
        assert context.project.config.verification.formal.depth == 33
        assert context.cache is not None and context.cache.name == str(UUID(int=2))
        (context.work / "out.txt").write_text(f"seed {context.seed}")
        context.sink.log("one\ntwo")
        context.sink.progress(1, 2, "tests")
        await asyncio.to_thread(context.sink.log, "from a thread", Level.WARNING)
        await asyncio.sleep(0.02)
        artifacts = (
            Artifact("out.txt", context.work / "out.txt", "text/plain"),
            Artifact("none.txt", context.work / "none.txt", "text/plain"),
            Artifact("passwd", Path("/etc/passwd"), "text/plain"),
        )
        return StageResult(StageStatus.PASSED, {"warnings": 1}, {"findings": [1]}, artifacts)

    rig = Rig(tmp_path, run)
    assert await rig.handle(**{"verification.formal.depth": 33}) is None
    (outcome,) = rig.outcomes
    assert (outcome.status, outcome.summary) == ("passed", {"warnings": 1})
    assert [artifact.name for artifact in outcome.artifacts] == ["out.txt"]
    assert rig.blobs[outcome.artifacts[0].digest] == b"seed 7"
    assert outcome.details_digest is not None
    assert json.loads(rig.blobs[outcome.details_digest]) == {"findings": [1]}
    assert [line for _, line in rig.lines][1:4] == ["one", "two", "from a thread"]
    assert ("WARNING", "from a thread") in rig.lines
    assert rig.lines[-1][1].startswith("lint passed after")
    assert rig.told == [(1, 2, "tests")]
    assert outcome.seconds > 0


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ToolFailed("yosys ended with 1", tool="yosys", tail=("ERROR: no",)), "TOOL_ERROR", "ERROR: no"),
        (Unsupported("PSL is not read", field="x.y", file="a.sv", line=3), "unsupported", "PSL"),
        (ToolMissing("ghdl is not installed here"), "tool_missing", "ghdl"),
        (ExceptionGroup("two", [ValueError("x"), ToolFailed("no", tool="t")]), "TOOL_ERROR", "no"),
        (ZeroDivisionError("a defect"), "internal_error", "a defect"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_an_engine_raises_is_an_outcome_too(
    tmp_path: Path, error: Exception, code: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(_context: StageContext) -> StageResult:
        raise error

    rig = Rig(tmp_path, run)
    assert await rig.handle() is None
    (outcome,) = rig.outcomes
    assert (outcome.status, outcome.code) == ("error", code)
    assert outcome.reason is not None and reason in outcome.reason
    assert rig.lines[-1][0] == "ERROR"


@pytest.mark.parametrize("paths", [("rtl", "rtl/a.v"), ("rtl/a.v", "rtl")])
async def test_files_that_cannot_lie_beside_each_other_are_no_defect_of_the_builder(
    tmp_path: Path, paths: tuple[str, str]
) -> None:
    rig = Rig(tmp_path, never)
    files = {path: path.encode() for path in paths} | {"lutlab.yaml": CONFIG}
    assert await rig.handle(files) is None
    assert [outcome.code for outcome in rig.outcomes] == ["VALIDATION_ERROR"]
    assert "rtl" in (rig.outcomes[0].reason or "")


async def test_what_the_ledger_could_not_hold_is_left_out_of_an_outcome(tmp_path: Path) -> None:
    reports = [
        StageResult(StageStatus.FAILED, {}, reason="a design's word: \0"),
        ToolFailed("no", tool="t", tail=("\0",)),
        StageResult(StageStatus.PASSED, {"names": ["x" * (1 << 20)]}),
    ]

    async def run(_context: StageContext) -> StageResult:
        report = reports.pop(0)
        if isinstance(report, Exception):
            raise report
        return report

    rig = Rig(tmp_path, run)
    for _ in range(3):
        await rig.handle()
    assert ["\0" in (outcome.reason or "") for outcome in rig.outcomes] == [False] * 3
    assert [outcome.status for outcome in rig.outcomes] == ["failed", "error", "passed"]
    assert "names" not in rig.outcomes[2].summary


async def never(_context: StageContext) -> StageResult:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_stage_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    rig = Rig(tmp_path, never)
    await rig.handle(limit_s=0.05)
    assert rig.outcomes[0].code == "stage_timeout"


async def test_a_cancelled_stage_reports_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def run(context: StageContext) -> StageResult:
        begun.set()
        return await never(context)

    rig = Rig(tmp_path, run)
    task = asyncio.create_task(rig.handle())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not rig.outcomes
    assert not list((tmp_path / "work").iterdir())


async def test_work_nobody_wants_is_dropped(tmp_path: Path) -> None:
    rig = Rig(tmp_path, never)
    rig.wanted = False
    assert await rig.handle() is None
    assert not rig.outcomes


async def test_a_wrong_configuration_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path, never)
    await rig.handle({"lutlab.yaml": b"project: 1\n"})
    assert rig.outcomes[0].code == "VALIDATION_ERROR"


async def test_what_is_not_the_projects_fault_is_tried_again_but_not_for_ever(tmp_path: Path) -> None:
    rig = Rig(tmp_path, never)
    rig.sandbox_fails = True
    assert isinstance(await rig.handle(), Later)
    assert not rig.outcomes
    await rig.handle(delivery=DELIVERIES_MAX)
    assert rig.outcomes[0].code == Code.SANDBOX_UNAVAILABLE
    lost = Rig(tmp_path / "lost", never)
    work = StageWork(
        job_id=UUID(int=1),
        project_id=UUID(int=2),
        stage="lint",
        number=0,
        attempt=1,
        correlation_id=UUID(int=3),
        files_digest="00" * 32,
        seed=7,
        limit_s=5,
    )
    assert isinstance(await lost.service.handle(work, 1), Later)
    assert await lost.service.handle(work, DELIVERIES_MAX) is None
    assert lost.outcomes[0].code == Code.SOURCE_MISSING


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x"])
async def test_a_file_set_cannot_write_elsewhere(tmp_path: Path, path: str) -> None:
    rig = Rig(tmp_path, never)
    assert isinstance(await rig.handle({"lutlab.yaml": CONFIG, path: b"x"}), Later)
    assert not (tmp_path / "work" / "x").exists()


def test_files_are_kept_by_digest_and_a_damaged_one_is_dropped(tmp_path: Path) -> None:
    store = DigestStore(tmp_path, 100)
    data = b"x" * 60
    store.put(digest(data), data)
    assert store.get(digest(data)) == data
    (tmp_path / digest(data)[:2] / digest(data)).write_bytes(b"y")
    assert store.get(digest(data)) is None
    for number in range(5):
        more = bytes([number]) * 60
        store.put(digest(more), more)
    kept = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert kept <= 120
    assert DigestStore(tmp_path, 100).get(digest(bytes([4]) * 60)) is not None


def test_project_folders_are_separate_and_bounded(tmp_path: Path) -> None:
    caches = FolderCaches(tmp_path, 100)
    (caches.folder("a") / "x").write_bytes(bytes(80))
    (caches.folder("b") / "x").write_bytes(bytes(80))
    caches.folder("c")
    assert sorted(path.name for path in tmp_path.iterdir()) in (["b", "c"], ["a", "c"])
    (caches.folder("c") / "x").write_bytes(bytes(200))
    assert not list(caches.folder("c").iterdir())

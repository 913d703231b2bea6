"""Telling a job's story, and carrying out work, with everything around it in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import nats.errors
import pytest
from test_builder_cache import artifacts

from lutlab_builder.adapters.nats_io import NatsStageOutlet
from lutlab_builder.app import story as story_module
from lutlab_builder.app.do_work import DELIVERIES_MAX, BuildService, Later, NoRoom, SourceMissing
from lutlab_builder.app.ports import LogSink, Stage
from lutlab_builder.app.run_build import Built
from lutlab_builder.app.story import CHUNK_LINES, LINE_CHARS_MAX, LinesRefused, Story
from lutlab_builder.domain.bundle import BASE_BUNDLE
from lutlab_builder.domain.errors import BuildFailure, Code
from lutlab_builder.domain.plan import Plan
from lutlab_builder.domain.request import BuildRequest, Options
from lutlab_events import codec
from lutlab_events.designs import BUILD_STAGES
from lutlab_events.values import BitstreamRef
from lutlab_events.work import BuildWork, StageWork
from lutlab_transport.clock import SystemClock
from lutlab_verify.stage import Level

JOB = UUID(int=7)
SOURCE = b"module m; endmodule"
DIGEST = hashlib.sha256(SOURCE).hexdigest()
KEY = "ab" * 32


class Heard:
    """An Outlet that remembers, and can be held up."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def lines(self, stage: Stage, lines: Sequence[str]) -> None:
        await self.gate.wait()
        self.told.append((str(stage), list(lines)))

    async def stage(self, stage: Stage) -> None:
        await self.gate.wait()
        self.told.append(("stage", str(stage)))

    def all_lines(self) -> list[str]:
        return [line for what, lines in self.told if what != "stage" and isinstance(lines, list) for line in lines]


async def test_a_line_that_no_message_could_hold_holds_up_nothing() -> None:
    """It was tried again for ever, and its slot was lost."""
    bytes_max = 1 << 20

    class Nats:
        """Refuses what NATS' limit refuses."""

        def __init__(self) -> None:
            self.lines: list[str] = []

        def jetstream(self) -> Nats:
            return self

        async def publish(self, subject: str, data: bytes, **more: object) -> None:
            if len(data) > bytes_max:
                raise nats.errors.MaxPayloadError
            self.lines += codec.decode_log_chunk(data).lines

    nc: Any = Nats()
    work = StageWork(
        job_id=JOB,
        project_id=JOB,
        stage="lint",
        number=0,
        attempt=1,
        correlation_id=JOB,
        files_digest="",
        seed=1,
        limit_s=60,
    )
    outlet = NatsStageOutlet(nc, work, 1, site="main", clock=SystemClock())
    story = Story[Level](outlet)
    for _ in range(100):
        story.line(Level.INFO, "\1" * bytes_max)
    async with asyncio.timeout(10):
        await story.close()
        with pytest.raises(LinesRefused):
            await outlet.lines(Level.INFO, ["x" * (bytes_max + 1)])
    assert [len(line.removesuffix(" [line cut]")) for line in nc.lines] == [LINE_CHARS_MAX] * 100


async def test_a_story_is_told_in_order_and_in_small_chunks() -> None:
    heard = Heard()
    story = Story(heard)
    for i in range(2 * CHUNK_LINES + 1):
        story.line(Stage.ELABORATE, f"e{i}")
    story.line(Stage.SYNTHESIZE, "s")
    story.line(Stage.ELABORATE, "late")
    await story.close()
    assert [len(lines) for _, lines in heard.told] == [CHUNK_LINES, CHUNK_LINES, 1, 1, 1]  # type: ignore[arg-type]
    assert heard.all_lines() == [*(f"e{i}" for i in range(2 * CHUNK_LINES + 1)), "s", "late"]


async def test_stages_passed_in_a_hurry_are_told_by_the_last() -> None:
    heard = Heard()
    story = Story(heard)
    story.stage(Stage.ELABORATE)
    story.stage(Stage.SYNTHESIZE)
    story.line(Stage.SYNTHESIZE, "x")
    async with asyncio.timeout(5):
        while len(heard.told) < 2:  # noqa: ASYNC110 - the pump has no event for tests
            await asyncio.sleep(0.01)
    story.stage(Stage.PACK)
    await story.close()
    assert heard.told == [("stage", "synthesize"), ("synthesize", ["x"])]


async def test_a_story_that_cannot_be_sent_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story_module, "PENDING_LINES_MAX", 10)
    heard = Heard()
    heard.gate.clear()
    story = Story(heard)
    for i in range(100):
        story.line(Stage.PACK, str(i))
    heard.gate.set()
    await story.close()
    assert heard.all_lines()[:10] == [str(i) for i in range(10)]
    assert "90 lines were dropped" in heard.all_lines()[-1]


class FakeBuilder:
    """Builds nothing: says a line, then yields or fails as told."""

    def __init__(self, failure: BuildFailure | None = None) -> None:
        self.failure = failure
        self.requests: list[BuildRequest] = []

    async def build(self, request: BuildRequest, sink: LogSink) -> Built:
        self.requests.append(request)
        sink.stage(Stage.ELABORATE)
        sink.line(Stage.ELABORATE, "working")
        if self.failure:
            raise self.failure
        return Built(Plan(BASE_BUNDLE, request.options, "", KEY), artifacts(KEY), cached=False)

    async def build_base(self, profile: str, sink: LogSink) -> Built:
        return Built(Plan(BASE_BUNDLE, Options(profile), "", KEY), artifacts(KEY), cached=True)


class World:
    """Blobs and Reports in one place, in the order things happened."""

    def __init__(self, wanted: bool = True, has_source: bool = True) -> None:
        self.wanted = wanted
        self.blobs = {DIGEST: SOURCE} if has_source else {}
        self.happened: list[tuple[Any, ...]] = []

    async def get(self, digest: str) -> bytes:
        if digest not in self.blobs:
            raise SourceMissing(f"no {digest}")
        return self.blobs[digest]

    async def put(self, data: bytes) -> None:
        self.happened.append(("put", hashlib.sha256(data).hexdigest()))

    async def started(self, work: BuildWork, delivery: int) -> bool:
        self.happened.append(("started", delivery))
        return self.wanted

    async def succeeded(self, work: BuildWork, bitstream: BitstreamRef, report: dict[str, Any], cached: bool) -> None:
        self.happened.append(("succeeded", bitstream, report, cached))

    async def failed(self, work: BuildWork, failure: BuildFailure) -> None:
        self.happened.append(("failed", failure.code, failure.message, failure.stage))

    async def base_built(self, profile: str, bitstream: BitstreamRef) -> None:
        self.happened.append(("base", profile, bitstream.digest))


def work(**changes: Any) -> BuildWork:
    fields: dict[str, Any] = {
        "job_id": JOB,
        "attempt": 1,
        "correlation_id": JOB,
        "source_digest": DIGEST,
        "filename": "design.v",
        "profile": "lfe5u-25f",
    }
    return BuildWork(**{**fields, **changes})


def service(builder: FakeBuilder, world: World, heard: Heard) -> BuildService:
    return BuildService(builder=builder, blobs=world, reports=world, outlet=lambda _work, _delivery: heard)  # type: ignore[arg-type]


async def test_work_is_built_stored_and_reported_in_this_order() -> None:
    builder, world, heard = FakeBuilder(), World(), Heard()
    assert await service(builder, world, heard).handle(work(top="m", sys_clk_hz=60_000_000), 1) is None
    assert builder.requests[0].options == Options("lfe5u-25f", 60_000_000, "m", None)
    assert builder.requests[0].source == SOURCE
    digest = artifacts(KEY).report.bitstream_digest
    assert [what[0] for what in world.happened] == ["started", "put", "succeeded"]
    assert world.happened[1] == ("put", digest)
    _, ref, report, cached = world.happened[2]
    assert (ref.digest, ref.build_key, ref.build_id, ref.baud) == (digest, KEY, 0xABABABAB, 12_500_000)
    assert report["util"] == {"logic": {"used": 1, "available": 2}}
    assert cached is False
    assert heard.all_lines() == ["working"]


async def test_a_failure_is_told_in_the_log_and_reported() -> None:
    failure = BuildFailure(Code.SYNTAX_ERROR, "design.v:2: oh", "elaborate")
    world, heard = World(), Heard()
    assert await service(FakeBuilder(failure), world, heard).handle(work(), 1) is None
    assert world.happened[-1] == ("failed", Code.SYNTAX_ERROR, "design.v:2: oh", "elaborate")
    assert heard.all_lines() == ["working", "error: syntax_error: design.v:2: oh"]


async def test_bad_options_fail_without_a_build() -> None:
    builder, world = FakeBuilder(), World()
    await service(builder, world, Heard()).handle(work(sys_clk_hz=1), 1)
    assert world.happened[-1][:2] == ("failed", Code.INVALID_SYS_CLK_FREQ)
    assert builder.requests == []


async def test_unwanted_work_is_dropped() -> None:
    builder, world = FakeBuilder(), World(wanted=False)
    assert await service(builder, world, Heard()).handle(work(), 2) is None
    assert world.happened == [("started", 2)]
    assert builder.requests == []


@pytest.mark.parametrize(
    ("builder", "world", "code"),
    [
        (FakeBuilder(BuildFailure(Code.SANDBOX_UNAVAILABLE, "no")), World(), Code.SANDBOX_UNAVAILABLE),
        (FakeBuilder(), World(has_source=False), Code.SOURCE_MISSING),
    ],
)
async def test_what_is_not_the_designs_fault_is_tried_again_but_not_for_ever(
    builder: FakeBuilder, world: World, code: Code
) -> None:
    for delivery in range(1, DELIVERIES_MAX):
        assert isinstance(await service(builder, world, Heard()).handle(work(), delivery), Later)
    assert not any(what[0] == "failed" for what in world.happened)
    assert await service(builder, world, Heard()).handle(work(), DELIVERIES_MAX) is None
    assert world.happened[-1][:2] == ("failed", code)


async def test_a_crash_is_tried_again_but_not_for_ever() -> None:
    world = World()
    one = service(FakeBuilder(), world, Heard())
    assert isinstance(await one.crashed(work(), 1, ValueError("x")), Later)
    assert await one.crashed(work(), DELIVERIES_MAX, ValueError("x")) is None
    assert world.happened == [("failed", Code.INTERNAL_ERROR, "the builder failed: ValueError('x')", None)]


async def test_the_base_design_is_stored_before_it_is_reported() -> None:
    world = World()
    await service(FakeBuilder(), world, Heard()).provide_base("lfe5u-25f", Story(Heard()))
    digest = artifacts(KEY).report.bitstream_digest
    assert world.happened == [("put", digest), ("base", "lfe5u-25f", digest)]


class Full(Heard):
    """An Outlet without room, for a while."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals

    async def lines(self, stage: Stage, lines: Sequence[str]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise LinesRefused("the stream LOGS is full")
        await super().lines(stage, lines)


async def test_lines_without_room_are_dropped_and_the_log_says_so() -> None:
    heard = Full(1)
    story = Story(heard)
    for i in range(3 * CHUNK_LINES):
        story.line(Stage.PACK, str(i))
    await story.close()
    assert heard.all_lines() == [f"[{3 * CHUNK_LINES} lines were dropped: the log could not be sent in time]"]


async def test_a_story_ends_even_if_there_is_never_room() -> None:
    heard = Full(1000)
    story = Story(heard)
    for i in range(3 * CHUNK_LINES):
        story.line(Stage.PACK, str(i))
    await asyncio.wait_for(story.close(), 5)
    assert heard.refusals == 1000 - 2, "the lines and the sentence about them, not every chunk"


async def test_a_bitstream_without_room_fails_the_build_by_name() -> None:
    class Packed(World):
        async def put(self, data: bytes) -> None:
            raise NoRoom("the lab's message bus had no room for 300 s")

    world, heard = Packed(), Heard()
    assert await service(FakeBuilder(), world, heard).handle(work(), 1) is None
    assert world.happened[-1][:2] == ("failed", Code.TRANSIT_FULL)
    assert heard.all_lines()[-1] == "error: transit_full: the lab's message bus had no room for 300 s"
    story = Story(heard)
    with pytest.raises(BuildFailure, match="transit_full"):
        await service(FakeBuilder(), world, heard).provide_base("lfe5u-25f", story)
    await story.abandon()


def test_stages_have_the_names_that_everybody_knows() -> None:
    assert tuple(Stage) == BUILD_STAGES
